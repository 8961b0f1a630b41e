/** @file Puts an export into its place: written aside, checked, then moved, so that a failed check leaves what was there before. */
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join, parse } from "node:path";
import { modelPieces, type OnnxModel } from "../../engine/onnx/index.ts";
import { replaceDirAtomic, writeFileAtomic } from "../../weights/index.ts";
import type { WeightDType } from "./stored-weights.ts";

export interface LookedAt<T> {
  readonly write: (path: string) => Promise<void>;
  /** Looks at what was written; throws where it is wrong. */
  readonly look: (path: string) => Promise<T>;
}

/** A name beside the file, of the same suffix. */
function besides(out: string): string {
  const { dir, name, ext } = parse(out);
  return join(dir, `${name}.unchecked-${process.pid}${ext}`);
}

/** Writes a file that appears under its name only after `look` has seen it. */
export async function writeLookedAt<T>(out: string, { write, look }: LookedAt<T>): Promise<T> {
  const aside = besides(out);
  try {
    await write(aside);
    const seen = await look(aside);
    await rename(aside, out);
    return seen;
  } finally {
    await rm(aside, { force: true });
  }
}

/** Writes a folder that appears under its name only after `look` has seen it. */
export async function writeFolderLookedAt<T>(out: string, { write, look }: LookedAt<T>): Promise<T> {
  const seen: T[] = [];
  await replaceDirAtomic(out, async (dir) => {
    await write(dir);
    seen.push(await look(dir));
  });
  return seen[0]!; // the folder was written
}

export async function writeOnnx(path: string, model: OnnxModel): Promise<void> {
  await writeFileAtomic(path, modelPieces(model));
}

/** What transformers.js looks for, by its `dtype`: `fp32`, `fp16`, `q8`. */
const ONNX_NAMES: { readonly [K in WeightDType]: string } = { f32: "model.onnx", f16: "model_fp16.onnx", int8: "model_quantized.onnx" };

/** Where a folder's model lies, below it. */
export function onnxPath(dtype: WeightDType): string {
  return join("onnx", ONNX_NAMES[dtype]);
}

/** Writes the model into a folder as transformers.js expects it. */
export async function writeOnnxInto(dir: string, model: OnnxModel, dtype: WeightDType): Promise<void> {
  await mkdir(join(dir, "onnx"), { recursive: true });
  await writeOnnx(join(dir, onnxPath(dtype)), model);
}

export async function readBytes(path: string): Promise<Uint8Array> {
  return new Uint8Array(await readFile(path));
}
