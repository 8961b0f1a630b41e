/** @file A file of tensors that are read when asked for, whatever its format. */
import { open } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { type DType, FormatError, type HostTensor, InternalError, type Shape } from "../core/index.ts";
import { MAX_HEADER_BYTES } from "./safetensors-header.ts";
import { openSafetensors } from "./safetensors.ts";
import { readAs, storedDType } from "./tensor-bytes.ts";
import { storageDType } from "./torch/tensors.ts";
import { looksLikeTorch, openTorch } from "./torch/torch-file.ts";

export interface TensorSource extends AsyncDisposable {
  readonly path: string;
  /** Names and shapes, in file order; types as the format calls them. */
  readonly entries: ReadonlyMap<string, { readonly dtype: string; readonly shape: Shape }>;
  read(name: string): Promise<HostTensor>;
}

/** The type that a tensor has once it is read, by what its file calls it; undefined for one that is not read. */
export function readDType(stored: string): DType | undefined {
  const dtype = storageDType(stored) ?? storedDType(stored);
  return dtype === undefined ? undefined : readAs(dtype);
}

type Opener = (path: string) => Promise<TensorSource>;

/** The first bytes of a file; none where it cannot be read, which the opener then says. */
async function startOf(path: string): Promise<Buffer> {
  const handle = await open(path, "r").catch(() => undefined);
  if (handle === undefined) return Buffer.alloc(0);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0).catch(() => ({ buffer: Buffer.alloc(0), bytesRead: 0 }));
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** What people save by mistake. */
function checkDownload(start: Buffer, path: string): void {
  const text = start.toString("latin1").trimStart().toLowerCase();
  const what = /^<(?:!doctype|html|\?xml)/.test(text)
    ? "it is a web page, saved instead of the weights"
    : text.startsWith("version https://git-lfs")
      ? "it is a pointer of Git LFS, not the file itself"
      : /^[{[]\s*["}\]]/.test(text)
        ? "it is a file of JSON"
        : undefined;
  if (what !== undefined) throw new FormatError(`Cannot read weights of "${path}": ${what}; give the file of weights`, { file: path });
}

/** Whether a file begins with the length of a header and the header: a length such as 640 begins as a pickle does. */
function looksLikeSafetensors(start: Buffer): boolean {
  return start.length > 8 && start.readBigUInt64LE(0) <= MAX_HEADER_BYTES && start[8] === 0x7b;
}

/** Opens a file of tensors, whatever it is called: safetensors, or PyTorch's. Throws FormatError. */
export async function openTensors(path: string): Promise<TensorSource> {
  const start = await startOf(path);
  if (looksLikeSafetensors(start)) return openSafetensors(path);
  checkDownload(start, path);
  return looksLikeTorch(start) ? openTorch(path) : openSafetensors(path);
}

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** Opens the shards that a Hugging Face index (`*.index.json`, already parsed) names. Throws FormatError for what does not fit together. */
export async function openShards(indexPath: string, raw: unknown, openShard: Opener = openTensors): Promise<TensorSource> {
  const broken = (state: string): never => {
    throw new FormatError(`Cannot read weights of "${indexPath}": ${state}; download the folder again`, { file: indexPath });
  };
  const parsed = indexSchema.safeParse(raw);
  if (!parsed.success) return broken("it has no weight_map from names to files");
  const places = Object.entries(parsed.data.weight_map);
  const files = [...new Set(places.map(([, file]) => file))];
  for (const file of files) if (file !== basename(file) || file.startsWith(".")) broken(`it names "${file}", which is no file beside it`);
  const shards = new Map<string, TensorSource>();
  const close = async (): Promise<void> => {
    for (const shard of shards.values()) await shard[Symbol.asyncDispose]();
  };
  try {
    for (const file of files) shards.set(file, await openShard(join(dirname(indexPath), file)));
    const entries = new Map(
      places.map(([name, file]) => [name, shards.get(file)?.entries.get(name) ?? broken(`"${name}" is not in "${file}"`)] as const),
    );
    const extra = [...shards].flatMap(([file, { entries: held }]) =>
      [...held.keys()].filter((name) => parsed.data.weight_map[name] !== file),
    );
    if (extra.length > 0) broken(`it does not name ${extra.slice(0, 4).join(", ")}`);
    return {
      path: indexPath,
      entries,
      read: (name) => {
        const shard = shards.get(parsed.data.weight_map[name] ?? "");
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
