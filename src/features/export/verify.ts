/** @file Holds what an export wrote against its source: a model file by running it, weights by opening them as anyone would. */
import { type BackboneConfig, isViT, patchSizeOf } from "../../nn/index.ts";
import { float32Of, readBackbone } from "../../weights/index.ts";
import { readOnnxFile } from "../../weights/onnx/index.ts";
import { Encoder } from "../encoder.ts";
import { type CheckCase, type CheckOptions, checkOutputsOf, type CheckResult, encoderRun, onnxRun } from "./check.ts";
import type { Job } from "./job.ts";
import type { OutputName } from "./outputs.ts";

/** Sizes and batches to check: those that are open take several values, one of them not square. */
export function checkCases(config: BackboneConfig, { options, imageSizePx: px }: Pick<Job, "options" | "imageSizePx">): CheckCase[] {
  const { batchSize, dynamic = false } = options;
  const step = patchSizeOf(config);
  const own = batchSize === undefined ? [1, 2] : [batchSize];
  const [few = 1, more = few] = own;
  const square = own.map((batch) => ({ batch, sizePx: px }));
  if (!dynamic) return square;
  const odd = !isViT(config) && config.family === "resnet" ? 7 : 0; // its sizes need not be whole steps
  return [
    ...square,
    { batch: more, sizePx: { height: px + step + odd, width: px + 3 * step - odd } },
    { batch: few, sizePx: { height: Math.max(step, px - step), width: Math.max(step, px - 2 * step) } },
  ];
}

function checkOptions({ options, model, outputs, imageSizePx, dtype }: Job): CheckOptions {
  const { seed = 0, signal } = options;
  const { encoder } = model;
  return { encoder, outputs, cases: checkCases(encoder.config, { options, imageSizePx }), dtype, seed, signal };
}

/** Runs a model file. */
export async function checkOnnx(job: Job, path: string): Promise<CheckResult | undefined> {
  if (job.options.check === false) return undefined;
  const { bytes, externalDir } = await readOnnxFile(path);
  const { run, session } = onnxRun(job.device.env, { bytes, externalDir }, job.outputs);
  using _closing = session;
  return await checkOutputsOf(run, checkOptions(job));
}

/** Opens what was written as anyone would, and compares. */
export async function checkWritten(job: Job, path: string, arch?: BackboneConfig): Promise<CheckResult | undefined> {
  if (job.options.check === false) return undefined;
  const { config, tensors } = await readBackbone(path, { arch });
  const params = float32Of(tensors);
  using encoder = new Encoder({ config, params, device: job.device });
  const outputs: readonly OutputName[] = ["last_hidden_state"];
  const common = checkOptions({ ...job, imageSizePx: comparableSize(job) });
  return await checkOutputsOf(encoderRun(encoder, outputs), { ...common, cases: common.cases.slice(0, 1), outputs, dtype: "f32" });
}

/** Meta's resizing of positions is nobody else's: such weights agree at their native size only, and that is said (contracts 18). */
function comparableSize({ options, model, imageSizePx }: Job): number {
  const { config } = model.encoder;
  const isOwn = isViT(config) && config.positions !== "rope" && config.posInterpolation === "meta-offset";
  if (!isOwn || imageSizePx === config.imageSizePx) return imageSizePx;
  const native = config.imageSizePx;
  options.onNotice?.(
    `Positions of these weights are resized as Meta does; others resize them a little differently. Compared at ${native} px, where they agree.`,
  );
  return native;
}
