/** @file The teacher's backbone as others load it. */
import { join } from "node:path";
import type { HostTensor } from "../../core/index.ts";
import { replaceDirAtomic, writeModelInto } from "../../weights/index.ts";
import type { TrainConfig } from "../config/index.ts";
import type { Stepper } from "../stepper.ts";
import { backboneOf, trainedModels } from "./networks.ts";
import { digestConfig } from "./prepare.ts";
import { teacherBackbone } from "./teacher-backbone.ts";

/**
 * Writes `exported/last` (or `best`): a Hugging Face folder (of a ResNet: one of timm's) with the teacher's backbone and a model card. Where several students are
 * trained, each has `exported/NAME/last` and the first is `exported/last` too. Returns its path.
 */
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
  const models = trainedModels(config);
  for (const [i, { name: student, model }] of models.entries()) {
    const trained = stepper.learners[i];
    if (trained === undefined) continue;
    const { shapes, params } = teacherBackbone(trained, { config, stepper });
    const tensors = new Map(
      [...shapes].map(([key, shape]): [string, HostTensor] => [key, { dtype: "f32", shape, data: params.get(key) ?? new Float32Array() }]),
    );
    const what = {
      config: backboneOf(model),
      tensors,
      processor: processorConfig(config),
      card: card(config, { model, step, images, knnTop1 }),
    };
    const places = [...(i === 0 ? [[name]] : []), ...(models.length > 1 ? [[student, name]] : [])];
    for (const place of places) await replaceDirAtomic(join(runDir, "exported", ...place), (into) => writeModelInto(into, what));
  }
  return join(runDir, "exported", name);
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

const TITLES = { vit: "vision transformer", convnext: "ConvNeXt", resnet: "ResNet" } as const;

interface CardFacts {
  readonly model: TrainConfig["model"];
  readonly step: number;
  readonly images: number;
  readonly knnTop1: number | undefined;
}

/** How a network came to be. */
function howOf({ method, model, distill: { students, objective } }: TrainConfig): string {
  if (students.length === 0) return method;
  if (objective === "features") return `distillation of the features of a frozen ${TITLES[model.family]} of width ${model.width}`;
  return `distillation from a teacher of ${method}`;
}

function card(config: TrainConfig, { model, step, images, knnTop1 }: CardFacts): string {
  const { train, distill } = config;
  const licence = distill.objective === "features" ? ", as far as that of the teacher's weights allows" : "";
  const seen =
    model.channels === 3
      ? ""
      : ` Pictures have ${model.channels} channels, each from 0 to 1 (8 bits over 255, 16 bits over 65,535) before they are normalised.`;
  const score = knnTop1 === undefined ? "" : ` Its k-NN top-1 on the labelled images of the run is ${(100 * knnTop1).toFixed(1)} %.`;
  return [
    "---",
    `library_name: ${model.family === "resnet" ? "timm" : "transformers"}`,
    "pipeline_tag: image-feature-extraction",
    "tags: [dino, self-supervised, tricera]",
    "---",
    "",
    `A ${TITLES[model.family]} (${model.arch}) trained without labels by ${howOf(config)} with Tricera: ${step} steps of ${train.batchSize * train.accumulate} images from a set of ${images}.${seen}${score} Configuration ${digestConfig(config)}. The licence of these weights is for who trained them to choose${licence}.`,
    "",
  ].join("\n");
}
