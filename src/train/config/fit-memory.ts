/** @file Fitting a run into the machine's memory: the largest batch, or a refusal that says what would fit. */
import { ConfigError } from "../../core/index.ts";
import { estimateMemory, type Sized, sizesOf } from "./memory.ts";
import type { TrainConfig } from "./types.ts";

const GB = 2 ** 30;

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

/** What would fit, as settings. */
function advise(
  config: TrainConfig,
  memoryBytes: number,
): { readonly advice: readonly string[]; readonly batch: number; readonly localCount: number } {
  const { crops, train } = config;
  const fits = (other: Sized): boolean => estimateMemory(other).totalBytes <= memoryBytes;
  const localCount = largest(crops.localCount, (n) => fits({ ...config, crops: { ...crops, localCount: n } }));
  const batch = largestBatch(config, { from: train.batchSize, bytes: memoryBytes });
  const sizes = crops.sizes.filter((size) => fits({ ...config, crops: { ...crops, sizes: [size] } }));
  const advice = [
    ...(batch > 0 ? [`train.batchSize=${batch} with train.accumulate=${Math.ceil((train.batchSize * train.accumulate) / batch)}`] : []),
    ...(localCount > 0 && localCount < crops.localCount ? [`crops.localCount=${localCount}`] : []),
    ...(sizes.length > 0 && sizes.length < crops.sizes.length
      ? [`crops.sizes to those of ${sizes.map((s) => s.globalSizePx).join(", ")} px`]
      : []),
    ...(fits({ ...config, train: { ...train, checkpointing: true } }) && !train.checkpointing ? ["train.checkpointing=true"] : []),
  ];
  return { advice, batch, localCount };
}

/** Throws ConfigError when the estimate passes the machine's memory; says what it would take and what would fit. */
export function assertFitsMemory(config: TrainConfig, memoryBytes: number): void {
  const { totalBytes } = estimateMemory(config);
  if (totalBytes <= memoryBytes) return;
  const { crops, train } = config;
  const { advice, batch, localCount } = advise(config, memoryBytes);
  const large = Math.max(...sizesOf(config).map((s) => s.globalSizePx));
  const mixed = crops.sizes.length > 0 ? `, globals up to ${large} px,` : "";
  const what = `${train.batchSize} images with ${2 + crops.localCount} crops each${mixed} need about ${(totalBytes / GB).toFixed(1)} GB of memory`;
  const smaller = crops.sizes.length > 0 ? "crops.sizes to smaller crops" : "a smaller model";
  throw new ConfigError(
    `Cannot start training: ${what} and this machine has ${(memoryBytes / GB).toFixed(1)} GB; set ${advice.length > 0 ? advice.join(", or ") : smaller}`,
    { keyPath: keyPathOf(config, { batch, localCount }) },
  );
}

function keyPathOf({ crops }: TrainConfig, { batch, localCount }: { readonly batch: number; readonly localCount: number }): string {
  if (batch > 0) return "train.batchSize";
  if (crops.sizes.length > 0) return "crops.sizes";
  return localCount < crops.localCount ? "crops.localCount" : "train.batchSize";
}
