/** @file Several files of tensors as one, by Hugging Face's index. Needs no Node. */
import { z } from "zod";
import { FormatError, InternalError } from "../core/index.ts";
import type { TensorSource } from "./tensor-source.ts";

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** Names that stay in the index's folder, on every system and in a URL. */
const BESIDE = /^[^./\\][^/\\]*$/;

/** The files of an index (`*.index.json`, already parsed), each opened by its name. Throws FormatError for what does not fit together. */
export async function openIndexed(
  indexPath: string,
  raw: unknown,
  openShard: (file: string) => Promise<TensorSource>,
): Promise<TensorSource> {
  const broken = (state: string): never => {
    throw new FormatError(`Cannot read weights of "${indexPath}": ${state}; download the folder again`, { file: indexPath });
  };
  const parsed = indexSchema.safeParse(raw);
  if (!parsed.success) return broken("it has no weight_map from names to files");
  const fileOf = new Map(Object.entries(parsed.data.weight_map));
  const files = [...new Set(fileOf.values())];
  for (const file of files) if (!BESIDE.test(file)) broken(`it names "${file}", which is no file beside it`);
  const shards = new Map<string, TensorSource>();
  const close = async (): Promise<void> => {
    for (const shard of shards.values()) await shard[Symbol.asyncDispose]();
  };
  try {
    for (const file of files) shards.set(file, await openShard(file));
    const entries = new Map(
      [...fileOf].map(([name, file]) => [name, shards.get(file)?.entries.get(name) ?? broken(`"${name}" is not in "${file}"`)] as const),
    );
    const extra = [...shards].flatMap(([file, { entries: held }]) => [...held.keys()].filter((name) => fileOf.get(name) !== file));
    if (extra.length > 0) broken(`it does not name ${extra.slice(0, 4).join(", ")}`);
    return {
      path: indexPath,
      entries,
      read: (name) => {
        const shard = shards.get(fileOf.get(name) ?? "");
        if (shard === undefined) throw new InternalError(`Cannot read tensor "${name}": no shard has it`);
        return shard.read(name);
      },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
