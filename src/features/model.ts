/** @file Opens a trained backbone: a run folder, a Hugging Face folder of a `ViTModel`, or a bare `.safetensors` of a known architecture. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { ConfigError, FormatError, nearestName, sameShape } from "../core/index.ts";
import type { Device } from "../engine/runtime/index.ts";
import type { Triple } from "../images/index.ts";
import { VIT_PRESETS, type ViTConfig, vitPreset, vitSpecs } from "../nn/index.ts";
import { fromHuggingFace, type NamedTensors, readSafetensors, toFloat32 } from "../weights/index.ts";
import { Encoder } from "./encoder.ts";
import { type DecodeRules, decodeRulesOf, dinoPreprocessing, type Preprocessing, processorSchema, toPreprocessing } from "./processor.ts";

const configSchema = z.object({
  model_type: z.literal("vit"),
  hidden_size: z.int().min(1),
  num_hidden_layers: z.int().min(1),
  num_attention_heads: z.int().min(1),
  intermediate_size: z.int().min(1),
  image_size: z.int().min(1),
  patch_size: z.int().min(1),
  layer_norm_eps: z.number().positive(),
});

export interface OpenModel {
  readonly encoder: Encoder;
  /** The size it wants its pictures in. */
  readonly imageSizePx: number;
  readonly mean: Triple;
  readonly std: Triple;
  /** How its pictures are resized and cropped; mean and std as above. */
  readonly preprocessing: Preprocessing;
  readonly rules: DecodeRules;
  /** The folder the weights came from. */
  readonly dir: string;
}

async function readJson<T>(file: string, schema: z.ZodType<T>): Promise<T> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new FormatError(`Cannot open model: "${file}" is missing; give a run folder or a Hugging Face folder of a ViTModel`, {
      file,
      cause,
    });
  });
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`Cannot open model: "${file}" is not JSON; download or export it again`, { file, cause });
  }
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new FormatError(
    `Cannot open model: "${file}" has a wrong ${issue?.path.join(".") ?? "form"} (${issue?.message ?? "unknown"}); only ViTModel is known`,
    { file },
  );
}

const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isFile() === true;

/** The folder of weights that a path means: itself, or a run's `exported/best` (if there) or `exported/last`. */
async function weightsDir(path: string): Promise<string> {
  for (const candidate of [path, join(path, "exported", "best"), join(path, "exported", "last")])
    if (await isFile(join(candidate, "model.safetensors"))) return candidate;
  throw new FormatError(`Cannot open model "${path}": ${await whatIsWrong(path)}`, { file: path });
}

async function whatIsWrong(path: string): Promise<string> {
  const wanted = "give a run folder or a Hugging Face folder";
  if (VIT_PRESETS.has(path)) return `that is an architecture without weights; train it, or ${wanted}`;
  const found = await readdir(path).catch(() => undefined);
  if (found !== undefined)
    return `it holds ${found.length === 0 ? "nothing" : found.slice(0, 5).join(", ")} and no model.safetensors; ${wanted}`;
  if (await isFile(path)) return `it is a file; ${wanted}, or a .safetensors file with an architecture (--arch)`;
  const near = nearestName(basename(path), await readdir(dirname(path)).catch(() => []));
  return `it does not exist; ${near === undefined ? wanted : `did you mean "${near}"?`}`;
}

/** Weights by Meta's names, checked against the architecture. Throws FormatError for missing or wrongly shaped ones, and for more blocks. */
function takeWeights(given: NamedTensors, config: ViTConfig, file: string): ReadonlyMap<string, Float32Array> {
  const params = new Map<string, Float32Array>();
  for (const { name, shape } of vitSpecs(config)) {
    const tensor = given.get(name);
    const state = tensor === undefined ? "is missing" : `has shape [${tensor.shape.join(",")}]`;
    if (!(tensor?.data instanceof Float32Array) || !sameShape(tensor.shape, shape))
      throw new FormatError(`Cannot open model: "${name}" of "${file}" ${state}, [${shape.join(",")}] is wanted; check the architecture`, {
        file,
      });
    params.set(name, tensor.data);
  }
  const extra = [...given.keys()].find((name) => name.startsWith(`blocks.${config.depth}.`));
  if (extra !== undefined)
    throw new FormatError(`Cannot open model: "${file}" has "${extra}", but ${config.depth} blocks are wanted; check the architecture`, {
      file,
    });
  return params;
}

async function readWeights(file: string, config: ViTConfig): Promise<ReadonlyMap<string, Float32Array>> {
  const read = await readSafetensors(file);
  const tensors = new Map(
    [...read.tensors].map(([name, t]) => [name.replace(/^(module\.)?(backbone\.)?/, ""), /^(f|bf)/.test(t.dtype) ? toFloat32(t) : t]),
  );
  return takeWeights(tensors.has("cls_token") ? tensors : fromHuggingFace(tensors, config), config, file);
}

/** A bare file: the architecture is named, the size at which positions are stored is read off them. */
async function openFile(path: string, arch: string | undefined, device: Device): Promise<OpenModel> {
  if (arch === undefined)
    throw new ConfigError(`Cannot open model "${path}": a bare file does not say its architecture; give --arch`, { keyPath: "arch" });
  const config: ViTConfig = { ...vitPreset(arch), posInterpolation: "meta-offset" };
  const params = await readWeights(path, config);
  const preprocessing = dinoPreprocessing(config.imageSizePx);
  const { mean, std, imageSizePx } = preprocessing;
  return {
    encoder: new Encoder({ config, params, device }),
    imageSizePx,
    mean,
    std,
    preprocessing,
    rules: { decode: "python", alpha: "drop" },
    dir: dirname(path),
  };
}

/**
 * Opens a model for inference on a device; `arch` names the architecture of a bare `.safetensors` file. Throws FormatError for missing,
 * extra or wrongly shaped weights and for a path that is no model.
 */
export async function openModel(path: string, device: Device, { arch }: { readonly arch?: string | undefined } = {}): Promise<OpenModel> {
  if (path.endsWith(".safetensors") && (await isFile(path))) return openFile(path, arch, device);
  const dir = await weightsDir(path);
  const hf = await readJson(join(dir, "config.json"), configSchema);
  const processor = join(dir, "preprocessor_config.json");
  const preprocessing = toPreprocessing(await readJson(processor, processorSchema), { file: processor, imageSizePx: hf.image_size });
  const config: ViTConfig = {
    imageSizePx: hf.image_size,
    patchSizePx: hf.patch_size,
    width: hf.hidden_size,
    depth: hf.num_hidden_layers,
    heads: hf.num_attention_heads,
    mlpRatio: hf.intermediate_size / hf.hidden_size,
    layerNormEps: hf.layer_norm_eps,
    posInterpolation: "size",
  };
  const params = await readWeights(join(dir, "model.safetensors"), config);
  const { mean, std, imageSizePx } = preprocessing;
  return { encoder: new Encoder({ config, params, device }), imageSizePx, mean, std, preprocessing, rules: await decodeRulesOf(dir), dir };
}
