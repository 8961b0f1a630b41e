/** @file Opens a trained backbone: a run folder, or a Hugging Face folder of a `ViTModel`. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { FormatError } from "../core/index.ts";
import type { Device } from "../engine/runtime/index.ts";
import { IMAGENET_MEAN, IMAGENET_STD, type Triple } from "../images/index.ts";
import type { ViTConfig } from "../nn/index.ts";
import { fromHuggingFace, readSafetensors } from "../weights/index.ts";
import { Encoder } from "./encoder.ts";

const triple = z.tuple([z.number(), z.number(), z.number()]);
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
const processorSchema = z.object({ image_mean: triple.default([...IMAGENET_MEAN]), image_std: triple.default([...IMAGENET_STD]) });

export interface OpenModel {
  readonly encoder: Encoder;
  readonly imageSizePx: number;
  readonly mean: Triple;
  readonly std: Triple;
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

/** The folder of weights that a path means: itself, or a run's `exported/best` (if there) or `exported/last`. */
async function weightsDir(path: string): Promise<string> {
  for (const candidate of [path, join(path, "exported", "best"), join(path, "exported", "last")])
    if ((await stat(join(candidate, "model.safetensors")).catch(() => undefined)) !== undefined) return candidate;
  const found = await readdir(path).catch(() => []);
  const what = found.length === 0 ? "is no folder with files" : `holds ${found.slice(0, 5).join(", ")}`;
  throw new FormatError(`Cannot open model "${path}": it ${what} and no model.safetensors; give a run folder or a Hugging Face folder`, {
    file: path,
  });
}

/** Opens a model for inference on a device. Throws FormatError for missing, extra or wrongly shaped weights. */
export async function openModel(path: string, device: Device): Promise<OpenModel> {
  const dir = await weightsDir(path);
  const hf = await readJson(join(dir, "config.json"), configSchema);
  const { image_mean: mean, image_std: std } = await readJson(join(dir, "preprocessor_config.json"), processorSchema);
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
  const { tensors } = await readSafetensors(join(dir, "model.safetensors"));
  const params = new Map<string, Float32Array>();
  for (const [name, { data }] of fromHuggingFace(tensors, config)) if (data instanceof Float32Array) params.set(name, data);
  return { encoder: new Encoder({ config, params, device }), imageSizePx: hf.image_size, mean, std, dir };
}
