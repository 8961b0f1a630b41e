/** @file A file of tensors that are read when asked for, whatever its format. */
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { DType, HostTensor, Shape } from "../core/index.ts";
import { checkDownload, looksLikeSafetensors } from "./file-start.ts";
import { openSafetensors } from "./safetensors.ts";
import { openIndexed } from "./shards.ts";
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

/** Opens a file of tensors, whatever it is called: safetensors, or PyTorch's. Throws FormatError. */
export async function openTensors(path: string): Promise<TensorSource> {
  const start = await startOf(path);
  if (looksLikeSafetensors(start)) return openSafetensors(path);
  checkDownload(start, path);
  return looksLikeTorch(start) ? openTorch(path) : openSafetensors(path);
}

/** Opens the shards that a Hugging Face index (`*.index.json`, already parsed) names. Throws FormatError for what does not fit together. */
export function openShards(indexPath: string, raw: unknown, openShard: Opener = openTensors): Promise<TensorSource> {
  return openIndexed(indexPath, raw, (file) => openShard(join(dirname(indexPath), file)));
}
