/** @file The backbone's tensors as they are, under the names and of the types they have. */
import { FormatError, type HostTensor, InternalError } from "../../core/index.ts";
import type { LazyTensors } from "../folder/backbone.ts";
import type { Contents } from "../folder/contents.ts";
import type { StreamedTensor } from "../safetensors.ts";
import { bytesOf } from "../tensor-bytes.ts";
import { readDType } from "../tensor-source.ts";

export interface Plain {
  readonly tensors: ReadonlyMap<string, StreamedTensor>;
  readonly expected: LazyTensors;
}

/** Every tensor below the backbone's root, the prefix taken off. Throws FormatError for values of a type that is not read. */
export function plainTensors(contents: Contents): Plain {
  const { shapes, source } = contents;
  const read = async (name: string): Promise<HostTensor> => {
    const tensor = await contents.read(name);
    if (tensor === undefined) throw new InternalError(`Cannot read "${name}": it was listed and is not there`);
    return tensor;
  };
  const tensors = [...shapes].map(([name, shape]) => {
    const stored = contents.typeOf(name);
    const dtype = readDType(stored);
    if (dtype === undefined)
      throw new FormatError(`Cannot read weights of "${source.path}": values of ${stored} are not known; save them as float32`, {
        file: source.path,
      });
    async function* pieces(): AsyncGenerator<Uint8Array> {
      yield bytesOf(await read(name));
    }
    return [name, { dtype, shape, pieces }] as const;
  });
  return { tensors: new Map(tensors), expected: { shapes, read } };
}
