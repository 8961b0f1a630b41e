/** @file What a run will take of memory and disk, estimated from its configuration before anything is allocated. */
import { ConfigError } from "../../core/index.ts";
import type { TrainConfig } from "./types.ts";

const MB = 2 ** 20;
const GB = 2 ** 30;

/** Student, teacher, two moments, two halves of the running gradient. */
const PARAMETER_COPIES = 6;
/** Float32 values a block keeps for its backward pass, in units of tokens x width (mlpRatio 4: LN, q k v, attention, projection, LN, fc1, GELU, fc2). */
const KEPT_PER_BLOCK = 19;
/** Node, ONNX Runtime and sharp before the first batch. */
const BASE_BYTES = 300 * MB;
/** Crops made ahead of the step, in batches. */
const BATCHES_AHEAD = 3;

type Sized = Pick<TrainConfig, "model" | "crops" | "head"> & {
  readonly train: Pick<TrainConfig["train"], "batchSize" | "accumulate" | "checkpointing">;
} & {
  readonly data: Pick<TrainConfig["data"], "cacheMb">;
};

export interface MemoryEstimate {
  readonly parameterBytes: number;
  readonly activationBytes: number;
  readonly headBytes: number;
  readonly cropBytes: number;
  readonly totalBytes: number;
}

/** Parameters of the backbone: DINO's ViT-S/16 has 21,665,664. */
export function backboneParameters(model: TrainConfig["model"]): number {
  const { width: d, depth, mlpRatio, patchSizePx: p } = model;
  const tokens = Math.floor(model.imageSizePx / p) ** 2 + 1;
  const hidden = Math.round(d * mlpRatio);
  const block = 4 * d * d + 4 * d + 2 * d * hidden + hidden + d + 4 * d;
  return 3 * p * p * d + d + tokens * d + d + depth * block + 2 * d;
}

/** Parameters of the projection head, the last layer's gains included: DINO's for ViT-S has 22,352,128. */
export function headParameters(head: TrainConfig["head"], width: number): number {
  const { hidden: h, bottleneck: b, prototypes: k, layers } = head;
  const mlp = layers === 1 ? width * b + b : width * h + h + (layers - 2) * (h * h + h) + h * b + b;
  const norms = head.batchNorm && layers > 1 ? (layers - 1) * 2 * h : 0;
  return mlp + norms + b * k + k;
}

/** Bytes kept between forward and backward for `crops` crops of one size; resolution groups run one after the other. */
function groupBytes(config: Sized, sizePx: number, crops: number): number {
  const { model, train } = config;
  const tokens = Math.floor(sizePx / model.patchSizePx) ** 2 + 1;
  const perBlock = 4 * crops * tokens * model.width;
  const attention = 8 * crops * model.heads * Math.min(tokens, 512) ** 2;
  return (train.checkpointing ? perBlock * (model.depth + KEPT_PER_BLOCK) : perBlock * KEPT_PER_BLOCK * model.depth) + attention;
}

/** The memory a run takes at its highest. The activations' factor is calibrated on ViT-S/16, batch 8: 1.1 GB for the global group (contracts 3). */
export function estimateMemory(config: Sized): MemoryEstimate {
  const { crops, train, model, head } = config;
  const b = train.batchSize;
  const parameterBytes = 4 * PARAMETER_COPIES * (backboneParameters(model) + headParameters(head, model.width));
  const activationBytes = Math.max(
    groupBytes(config, crops.globalSizePx, 2 * b),
    groupBytes(config, crops.localSizePx, crops.localCount * b),
  );
  const rows = (2 + crops.localCount) * b;
  const headBytes = 4 * rows * (3 * head.prototypes + 4 * head.hidden * Math.max(0, head.layers - 1) + 2 * head.bottleneck);
  const pixels = 2 * crops.globalSizePx ** 2 + crops.localCount * crops.localSizePx ** 2;
  const cropBytes = 12 * pixels * b * Math.max(BATCHES_AHEAD, train.accumulate) + config.data.cacheMb * MB;
  return {
    parameterBytes,
    activationBytes,
    headBytes,
    cropBytes,
    totalBytes: BASE_BYTES + parameterBytes + activationBytes + headBytes + cropBytes,
  };
}

/** Bytes of one checkpoint: student, teacher and the optimizer's two moments. */
export function estimateCheckpointBytes(config: Pick<TrainConfig, "model" | "head">): number {
  return 4 * 4 * (backboneParameters(config.model) + headParameters(config.head, config.model.width));
}

/** The largest n from 0 to `from` that `fits`, by halving; `fits` falls from true to false as n grows. */
function largest(from: number, fits: (n: number) => boolean): number {
  let [lo, hi] = [0, from];
  while (lo < hi) {
    const mid = Math.ceil((lo + hi) / 2);
    if (fits(mid)) lo = mid;
    else hi = mid - 1;
  }
  return lo;
}

/** The largest micro-batch up to `from` that keeps the estimate within `bytes`; 0 when not even one image fits. */
export function largestBatch(config: Sized, options: { readonly from: number; readonly bytes: number }): number {
  const { from, bytes } = options;
  return largest(from, (batchSize) => estimateMemory({ ...config, train: { ...config.train, batchSize } }).totalBytes <= bytes);
}

/** Throws ConfigError when the estimate passes the machine's memory; says what it would take and what would fit. */
export function assertFitsMemory(config: TrainConfig, memoryBytes: number): void {
  const { totalBytes } = estimateMemory(config);
  if (totalBytes <= memoryBytes) return;
  const { crops, train } = config;
  const localCount = largest(
    crops.localCount,
    (n) => estimateMemory({ ...config, crops: { ...crops, localCount: n } }).totalBytes <= memoryBytes,
  );
  const batch = largestBatch(config, { from: train.batchSize, bytes: memoryBytes });
  const thrifty = estimateMemory({ ...config, train: { ...train, checkpointing: true } }).totalBytes <= memoryBytes;
  const advice = [
    ...(batch > 0 ? [`train.batchSize=${batch} with train.accumulate=${Math.ceil((train.batchSize * train.accumulate) / batch)}`] : []),
    ...(localCount > 0 && localCount < crops.localCount ? [`crops.localCount=${localCount}`] : []),
    ...(thrifty && !train.checkpointing ? ["train.checkpointing=true"] : []),
  ];
  const what = `${train.batchSize} images with ${2 + crops.localCount} crops each need about ${(totalBytes / GB).toFixed(1)} GB of memory`;
  throw new ConfigError(
    `Cannot start training: ${what} and this machine has ${(memoryBytes / GB).toFixed(1)} GB; set ${advice.length > 0 ? advice.join(", or ") : "a smaller model"}`,
    {
      keyPath: localCount < crops.localCount && batch === 0 ? "crops.localCount" : "train.batchSize",
    },
  );
}
