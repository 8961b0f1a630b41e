/** @file Puts an export into its place: written aside, checked, then moved, so that a failed check leaves what was there before. */
import { mkdir, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { externalFile, modelPieces, type OnnxModel } from "../../engine/onnx/index.ts";
import { type LookedAt, uncheckedName, writeFileAtomic } from "../../weights/index.ts";
import { readOnnxFile } from "../../weights/onnx/index.ts";
import { dataPath } from "./options.ts";
import type { WeightDType } from "./stored-weights.ts";

/**
 * Writes a graph and the file of its weights, which appear under their names only after `look` has seen them: the weights first. What was
 * there is taken away before, so that no graph is ever beside the weights of another.
 */
export async function writePairLookedAt<T>(out: string, { write, look }: LookedAt<T>): Promise<T> {
  const aside = `${uncheckedName(out)}.pair`;
  const inside = join(aside, basename(out)); // the graph has the name of the other file in it
  try {
    await mkdir(aside, { recursive: true });
    await write(inside);
    const seen = await look(inside);
    await rm(out, { force: true });
    await rename(dataPath(inside), dataPath(out));
    await rename(inside, out);
    return seen;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

/** Whether a graph that is there has its weights in the file beside it that would be ours. */
export async function hasDataBeside(out: string): Promise<boolean> {
  const own = basename(dataPath(out));
  const found = await readOnnxFile(out).catch(() => undefined); // absent, or no graph
  return found?.externalFiles.includes(own) === true;
}

/** Writes a graph; its weights inside, or in a file beside it. */
export async function writeOnnx(path: string, model: OnnxModel, { isExternal }: { readonly isExternal: boolean }): Promise<void> {
  const external = isExternal ? externalFile(model, basename(dataPath(path))) : undefined;
  if (external !== undefined) await writeFileAtomic(dataPath(path), external.pieces, { sizeBytes: external.sizeBytes });
  const { pieces, sizeBytes } = modelPieces(model, external);
  await writeFileAtomic(path, pieces, { sizeBytes });
}

/** What transformers.js looks for, by its `dtype`: `fp32`, `fp16`, `q8`. */
const ONNX_NAMES: { readonly [K in WeightDType]: string } = { f32: "model.onnx", f16: "model_fp16.onnx", int8: "model_quantized.onnx" };

/** Where a folder's model lies, below it. */
export function onnxPath(dtype: WeightDType): string {
  return join("onnx", ONNX_NAMES[dtype]);
}
