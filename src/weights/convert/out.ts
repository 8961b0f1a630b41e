/** @file Where a converted model may be written. */
import { readdir, stat } from "node:fs/promises";
import { UsageError } from "../../core/index.ts";
import type { ConvertTarget } from "./convert.ts";

/** Files of a model's folder; one that holds any other is not replaced. */
const OURS = new Set(["config.json", "model.safetensors", "preprocessor_config.json", "README.md"]);

/** Whether `out` names a folder, by the target and the end of its name. Throws UsageError for a place that the target does not have. */
function isFolderOf(out: string, to: ConvertTarget): boolean {
  if (/\.(?:pth|pt|bin|onnx|npz|ckpt|h5)$/i.test(out))
    throw new UsageError(`Cannot convert to "${out}": weights are written as safetensors only; end its name with .safetensors`);
  const isFile = out.toLowerCase().endsWith(".safetensors");
  if (to === "hf" && isFile)
    throw new UsageError(
      `Cannot convert to "${out}": for Hugging Face a folder is written; give the name of a folder, or take timm or meta`,
    );
  if ((to === "meta" || to === "safetensors") && !isFile)
    throw new UsageError(`Cannot convert to "${out}": for ${to} one file is written; end its name with .safetensors`);
  return !isFile;
}

/** Checks the place of a result, and says whether it is a folder. Throws UsageError where something is in the way. */
export async function checkOut(
  out: string,
  { to, overwrite }: { readonly to: ConvertTarget; readonly overwrite: boolean },
): Promise<boolean> {
  if (out === "") throw new UsageError("Cannot convert: out is empty; give a folder, or a file that ends in .safetensors");
  const isFolder = isFolderOf(out, to);
  const found = await stat(out).catch(() => undefined);
  if (found === undefined) return isFolder;
  if (found.isDirectory() !== isFolder)
    throw new UsageError(`Cannot convert to "${out}": it is a ${isFolder ? "file" : "folder"}; choose another place`);
  if (!overwrite) {
    if (isFolder && (await readdir(out)).length === 0) return true;
    throw new UsageError(`Cannot convert to "${out}": it exists; choose another place, or say that it may be replaced (overwrite)`);
  }
  const foreign = isFolder ? (await readdir(out)).find((name) => !OURS.has(name)) : undefined;
  if (foreign !== undefined)
    throw new UsageError(`Cannot replace "${out}": it holds "${foreign}", which is no part of a converted model; choose another place`);
  return isFolder;
}
