/** @file The teacher's backbone as others load it. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { HostTensor } from "../../core/index.ts";
import { replaceDirAtomic, toHuggingFace, vitModelConfig, writeSafetensors } from "../../weights/index.ts";
import type { TrainConfig } from "../config/index.ts";
import type { Stepper } from "../stepper.ts";
import { vitOf } from "./method-config.ts";
import { digestConfig } from "./prepare.ts";

const PREFIX = "backbone.";

/** Writes `exported/last` (or `best`): a Hugging Face folder (`ViTModel`) with the teacher's backbone and a model card. Returns its path. */
export async function exportTeacher(
  runDir: string,
  stepper: Stepper,
  {
    config,
    step,
    images,
    name = "last",
    knnTop1,
  }: {
    readonly config: TrainConfig;
    readonly step: number;
    readonly images: number;
    readonly name?: "last" | "best";
    readonly knnTop1?: number;
  },
): Promise<string> {
  const dir = join(runDir, "exported", name);
  const tensors = new Map<string, HostTensor>(
    stepper.specs
      .filter((s) => s.name.startsWith(PREFIX))
      .map((s) => [s.name.slice(PREFIX.length), { dtype: "f32", shape: s.shape, data: stepper.flats.teacher.view(s.name) }]),
  );
  const vit = vitOf(config);
  await replaceDirAtomic(dir, async (into) => {
    await writeSafetensors(join(into, "model.safetensors"), toHuggingFace(tensors, vit), { format: "pt" });
    await writeFile(join(into, "config.json"), `${JSON.stringify(vitModelConfig(vit), null, 2)}\n`);
    await writeFile(join(into, "preprocessor_config.json"), `${JSON.stringify(processorConfig(config), null, 2)}\n`);
    await writeFile(join(into, "README.md"), card(config, { step, images, knnTop1 }));
  });
  return dir;
}

function processorConfig({ crops, augment }: TrainConfig): object {
  const size = crops.globalSizePx;
  return {
    image_processor_type: "ViTImageProcessor",
    do_resize: true,
    size: { height: size, width: size },
    resample: 3,
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: augment.mean,
    image_std: augment.std,
  };
}

interface CardFacts {
  readonly step: number;
  readonly images: number;
  readonly knnTop1: number | undefined;
}

function card(config: TrainConfig, { step, images, knnTop1 }: CardFacts): string {
  const { model, method, train } = config;
  const score = knnTop1 === undefined ? "" : ` Its k-NN top-1 on the labelled images of the run is ${(100 * knnTop1).toFixed(1)} %.`;
  return [
    "---",
    "library_name: transformers",
    "pipeline_tag: image-feature-extraction",
    "tags: [dino, self-supervised, tricera]",
    "---",
    "",
    `A vision transformer (${model.arch}) trained without labels by ${method} with Tricera: ${step} steps of ${train.batchSize * train.accumulate} images from a set of ${images}.${score} Configuration ${digestConfig(config)}. The licence of these weights is for who trained them to choose.`,
    "",
  ].join("\n");
}
