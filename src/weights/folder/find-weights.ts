/** @file Where the weights are that a path means, and the small JSON files beside them. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FormatError, nearestName } from "../../core/index.ts";
import { CONVNEXT_PRESETS, RESNET_PRESETS, VIT_PRESETS } from "../../nn/index.ts";

/** Names of a folder's weights, in the order they are looked for. */
export const WEIGHT_FILES = [
  "model.safetensors",
  "model.safetensors.index.json",
  "pytorch_model.bin",
  "pytorch_model.bin.index.json",
] as const;

const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isFile() === true;

/** A JSON file of a model's folder. Throws FormatError. */
export async function readJson(file: string): Promise<unknown> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new FormatError(`Cannot open model: "${file}" is missing; give a run folder, a Hugging Face folder or a file of weights`, {
      file,
      cause,
    });
  });
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new FormatError(`Cannot open model: "${file}" is not JSON; download or export it again`, { file, cause });
  }
}

/** What stands in `preprocessor_config.json`, where there is one. */
export async function readProcessor(dir: string | undefined): Promise<object | undefined> {
  const file = join(dir ?? "", "preprocessor_config.json");
  if (dir === undefined || !(await isFile(file))) return undefined;
  const content = await readJson(file);
  if (typeof content === "object" && content !== null && !Array.isArray(content)) return content;
  throw new FormatError(`Cannot open model: "${file}" is no object; download or export it again`, { file });
}

async function whatIsWrong(path: string): Promise<string> {
  const wanted = "give a run folder, a Hugging Face folder or a file of weights";
  if ([VIT_PRESETS, CONVNEXT_PRESETS, RESNET_PRESETS].some((presets) => presets.has(path)))
    return `that is an architecture without weights; train it, or ${wanted}`;
  const found = await readdir(path).catch(() => undefined);
  if (found?.some((name) => name === "onnx" || name.endsWith(".onnx")) === true)
    return `it holds an ONNX graph, which can be run (embed, eval), and no weights; ${wanted}`;
  if (found !== undefined)
    return `it holds ${found.length === 0 ? "nothing" : found.slice(0, 5).join(", ")} and no model.safetensors; ${wanted}`;
  const near = nearestName(basename(path), await readdir(dirname(path)).catch(() => []));
  return `it does not exist; ${near === undefined ? wanted : `did you mean "${near}"?`}`;
}

export interface Place {
  readonly file: string;
  /** The model folder, where it is one. */
  readonly dir: string | undefined;
  readonly isRun: boolean;
}

/** The file of weights that a path means: itself, that of a folder, or of a run's `exported/best` or `exported/last`. */
export async function findWeights(path: string): Promise<Place> {
  if (path.endsWith(".onnx") && (await isFile(path)))
    throw new FormatError(
      `Cannot open weights of "${path}": an ONNX file is a graph, which can be run (embed, eval) but not trained or written anew; give the model it was exported from`,
      { file: path },
    );
  if (await isFile(path)) {
    const isRun = basename(path) === "teacher.safetensors" && (await isFile(join(dirname(path), "state.json")));
    return { file: path, dir: undefined, isRun };
  }
  const isRun = /^exported$/.test(basename(dirname(path)));
  for (const [dir, run] of [
    [path, isRun],
    [join(path, "exported", "best"), true],
    [join(path, "exported", "last"), true],
  ] as const)
    for (const name of WEIGHT_FILES) if (await isFile(join(dir, name))) return { file: join(dir, name), dir, isRun: run };
  throw new FormatError(`Cannot open model "${path}": ${await whatIsWrong(path)}`, { file: path });
}
