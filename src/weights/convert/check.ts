/** @file Whether what was written is what was read: every tensor compared, bit by bit, one at a time. */
import { FormatError, type HostTensor, sameShape } from "../../core/index.ts";
import { type BackboneConfig, isViT } from "../../nn/index.ts";
import type { LazyTensors } from "../folder/backbone.ts";
import { openBackbone } from "../folder/read-backbone.ts";
import { openTensors } from "../tensor-source.ts";
import { bytesOf } from "../tensor-bytes.ts";

function differs(what: string, path: string): FormatError {
  return new FormatError(
    `Cannot convert to "${path}": ${what} after it was written and read again, so nothing was kept; check the disk and convert again`,
    { file: path },
  );
}

function isSame(a: HostTensor, b: HostTensor): boolean {
  return a.dtype === b.dtype && sameShape(a.shape, b.shape) && Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
}

/** What makes a network compute otherwise with the same tensors. */
function settingsOf(config: BackboneConfig): unknown {
  if (!isViT(config)) return config.family;
  const { heads, patchSizePx, layerNormEps, positions = "learned", ffn = "mlp", rope = {} } = config;
  return [heads, patchSizePx, layerNormEps, positions, ffn, rope.base ?? 100];
}

export interface CheckOptions {
  /** What errors call the place. */
  readonly out: string;
  /** What must be there, by our names. */
  readonly expected: LazyTensors;
  readonly config: BackboneConfig;
  /** Whether the place describes itself; a file of tensors does not. */
  readonly isFolder: boolean;
}

type Compared = Pick<CheckOptions, "out" | "expected">;

/** Gives the number of tensors that were read and found the same. */
async function compareAll(read: LazyTensors["read"], { out, expected }: Compared): Promise<number> {
  for (const name of expected.shapes.keys())
    if (!isSame(await read(name), await expected.read(name))) throw differs(`"${name}" has other values`, out);
  return expected.shapes.size;
}

/** Opens a written model as any other and compares it. Gives the number of tensors. Throws FormatError for one that is not the same. */
export async function checkModel(path: string, { out, expected, config, isFolder }: CheckOptions): Promise<number> {
  await using again = await openBackbone(path, isFolder ? {} : { arch: config });
  if (JSON.stringify(settingsOf(again.config)) !== JSON.stringify(settingsOf(config))) throw differs("it is another network", out);
  return await compareAll(again.params.read, { out, expected });
}

/** Compares the tensors of a written file by their own names. Gives their number. Throws FormatError for one that is not the same. */
export async function checkTensors(path: string, { out, expected }: Compared): Promise<number> {
  await using again = await openTensors(path);
  if (again.entries.size !== expected.shapes.size) throw differs(`it has ${again.entries.size} tensors`, out);
  return await compareAll((name) => again.read(name), { out, expected });
}
