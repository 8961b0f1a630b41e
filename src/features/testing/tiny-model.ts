/** @file A tiny vision transformer with random weights, saved as Hugging Face saves a `ViTModel`, and a folder of pictures for it. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type HostTensor, Rng, sizeOf } from "../../core/index.ts";
import { encodePng } from "../../images/node/index.ts";
import { initParam, type ViTConfig, vitSpecs } from "../../nn/index.ts";
import { toHuggingFace, toHuggingFaceConfig, writeSafetensors } from "../../weights/index.ts";
import { SMALL_VIT } from "../../nn/testing/small-vit.ts";

export const TINY: ViTConfig = { ...SMALL_VIT, width: 12 };

/** Random weights by Meta's names. */
export function randomWeights(config: ViTConfig, seed: number): Map<string, HostTensor> {
  const rng = new Rng(seed);
  return new Map(
    vitSpecs(config).map((spec) => {
      const data = new Float32Array(sizeOf(spec.shape));
      initParam(spec, data, rng);
      return [spec.name, { dtype: "f32", shape: spec.shape, data }] as const;
    }),
  );
}

export interface TinyModelOptions {
  readonly config?: ViTConfig;
  /** By Meta's names. */
  readonly weights?: ReadonlyMap<string, HostTensor>;
  readonly processor?: object;
}

/** Writes config, processor and weights to `dir`; gives the weights. */
export async function writeTinyModel(dir: string, options: TinyModelOptions = {}): Promise<ReadonlyMap<string, HostTensor>> {
  const { config = TINY, weights = randomWeights(config, 5), processor } = options;
  const { imageSizePx: side } = config;
  await mkdir(dir, { recursive: true });
  await writeSafetensors(join(dir, "model.safetensors"), toHuggingFace(weights, config), { format: "pt" });
  await writeFile(join(dir, "config.json"), JSON.stringify(toHuggingFaceConfig(config)));
  const usual = { size: { height: side, width: side }, resample: 3, image_mean: [0.5, 0.5, 0.5], image_std: [0.25, 0.25, 0.25] };
  await writeFile(join(dir, "preprocessor_config.json"), JSON.stringify(processor ?? usual));
  return weights;
}

/** A picture of noise around a colour. */
export async function writePicture(
  path: string,
  { colour, seed }: { readonly colour: readonly number[]; readonly seed: number },
): Promise<void> {
  const rng = new Rng(seed);
  const data = Uint8Array.from({ length: 20 * 18 * 3 }, (_, i) => (colour[i % 3] ?? 0) + rng.int(30));
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, await encodePng({ width: 20, height: 18, data }));
}
