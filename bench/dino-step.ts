/**
 * @file One DINO step (two forwards, loss, backward, clip, AdamW, EMA) on random tensors; the twin of a PyTorch + lightly script.
 *
 *   npm run -s bench -- dino-step --model tiny|small|cifar --batch 8 --reps 5 [--threads 2]
 *
 * tiny, small: ViT-Ti/16, ViT-S/16, 2×224 + 8×96 crops, 65,536 outputs. cifar: ViT-Ti/4, 2×32 + 6×16, 4,096 outputs.
 */
import { parseArgs } from "node:util";
import { Rng } from "../src/core/index.ts";
import { openCpu } from "../src/engine/runtime/index.ts";
import { dino, type DinoConfig } from "../src/methods/index.ts";
import { Stepper } from "../src/train/stepper.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "tiny" },
    batch: { type: "string", default: "8" },
    reps: { type: "string", default: "5" },
    threads: { type: "string", default: "2" },
    checkpointing: { type: "boolean", default: false },
  },
});
const [batch, reps, threads] = [Number(values.batch), Number(values.reps), Number(values.threads)];
const cifar = values.model === "cifar";
const width = values.model === "small" ? 384 : 192;
const crops = cifar ? { globalSizePx: 32, localSizePx: 16, localCount: 6 } : { globalSizePx: 224, localSizePx: 96, localCount: 8 };
const prototypes = cifar ? 4096 : 65_536;

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
  head: { width, hidden: 2048, bottleneck: 256, prototypes, layers: 3, batchNorm: false, normLastLayer: true },
  crops,
  objective: { centering: "ema", centerMomentum: 0.9, sinkhornIterations: 3, koleoWeight: 0, studentTemp: 0.1 },
  dropPath: 0,
  batchSize: batch,
  microBatchSize: batch,
};

function randomCrops(count: number, size: number): Float32Array {
  const rng = new Rng(count);
  return Float32Array.from({ length: count * batch * 3 * size * size }, () => rng.normal());
}

function median(xs: readonly number[]): number {
  return xs.toSorted((a, b) => a - b)[xs.length >> 1] ?? NaN;
}

const round = (x: number): number => Math.round(x * 10) / 10;

const started = performance.now();
using device = openCpu({ threads });
await using stepper = new Stepper({
  method: dino(config),
  device,
  optimizer: { kind: "adamw", beta1: 0.9, beta2: 0.999, eps: 1e-8 },
  threads,
  checkpointing: values.checkpointing,
});
const rng = new Rng(0);
stepper.init(rng);
const setupMs = performance.now() - started;
const inputs = { globals: randomCrops(2, crops.globalSizePx), locals: randomCrops(crops.localCount, crops.localSizePx), rng };
const scalars = {
  lr: 1e-4,
  weightDecay: 0.04,
  emaMomentum: 0.996,
  teacherTemp: 0.04,
  clip: { kind: "global", norm: 3 } as const,
  freezeLastLayer: false,
};
const [times, cores]: [number[], number[]] = [[], []];
for (let step = 0; step <= reps; step++) {
  const [t, c] = [performance.now(), process.cpuUsage()];
  await stepper.step({ ...inputs, step, scalars });
  const wall = performance.now() - t;
  const used = process.cpuUsage(c);
  times.push(wall);
  cores.push((used.user + used.system) / 1000 / wall);
}
const [first = NaN, ...rest] = times;
console.log(
  JSON.stringify({
    script: "dino-step",
    model: values.model,
    batch,
    crops: `2x${crops.globalSizePx}+${crops.localCount}x${crops.localSizePx}`,
    outputs: prototypes,
    threads,
    results: {
      f32: {
        median_ms: round(median(rest)),
        min_ms: round(Math.min(...rest)),
        first_ms: round(first),
        setup_ms: round(setupMs),
        cores: round(median(cores.slice(1))),
      },
    },
    arena_mb: Math.round(stepper.arenaBytes / 1e6),
    peak_rss_mb: Math.round(process.resourceUsage().maxRSS / 1024),
  }),
);
