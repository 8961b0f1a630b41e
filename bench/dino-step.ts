/**
 * @file One DINO step (two forwards, loss, backward, clip, AdamW, EMA) on random tensors; the twin of a PyTorch + lightly script.
 *
 *   npm run -s bench -- dino-step --model tiny|small|cifar --batch 8 --reps 5 [--threads 2] [--checkpointing] [--profile]
 *
 * tiny, small: ViT-Ti/16, ViT-S/16, 2×224 + 8×96 crops, 65,536 outputs. cifar: ViT-Ti/4, 2×32 + 6×16, 4,096 outputs.
 * --profile writes to stderr where the time went, region by region.
 */
import { parseArgs } from "node:util";
import { dino, type DinoConfig } from "../src/methods/index.ts";
import { oneOf, readStepOptions, STEP_OPTIONS } from "./lib/options.ts";
import { benchStep } from "./lib/step-bench.ts";

const { values } = parseArgs({ options: { ...STEP_OPTIONS, model: { type: "string", default: "tiny" } } });
const run = readStepOptions(values);
const model = oneOf("--model", values.model, ["tiny", "small", "cifar"]);
const cifar = model === "cifar";
const width = model === "small" ? 384 : 192;
const crops = cifar ? { globalSizePx: 32, localSizePx: 16, localCount: 6 } : { globalSizePx: 224, localSizePx: 96, localCount: 8 };

const config: DinoConfig = {
  backbone: {
    width,
    depth: 12,
    heads: width / 64,
    imageSizePx: crops.globalSizePx,
    patchSizePx: cifar ? 4 : 16,
    mlpRatio: 4,
    layerNormEps: 1e-6,
    posInterpolation: "size-antialias",
  },
  head: { width, hidden: 2048, bottleneck: 256, prototypes: cifar ? 4096 : 65_536, layers: 3, batchNorm: false, normLastLayer: true },
  crops,
  objective: { centering: "ema", centerMomentum: 0.9, sinkhornIterations: 3, koleoWeight: 0, studentTemp: 0.1 },
  dropPath: 0,
  batchSize: run.batch,
  microBatchSize: run.batch,
};

await benchStep({
  script: "dino-step",
  model,
  run,
  method: dino(config),
  config,
  scalars: {
    lr: 1e-4,
    weightDecay: 0.04,
    emaMomentum: 0.996,
    teacherTemp: 0.04,
    clip: { kind: "global", norm: 3 },
    freezeLastLayer: false,
  },
});
