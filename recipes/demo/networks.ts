/** @file The run's network after training, and the very one it began with. */
import { join } from "node:path";
import { InternalError, Rng, sizeOf } from "../../src/core/index.ts";
import { imageRef, readFrozenList } from "../../src/data/index.ts";
import type { Device } from "../../src/engine/runtime/index.ts";
import { Encoder, openModel } from "../../src/features/index.ts";
import { openEvalPool } from "../../src/images/node/index.ts";
import { initParam, vitSpecs } from "../../src/nn/index.ts";
import type { TrainConfig } from "../../src/train/index.ts";
import { vitOf } from "../../src/train/loop/networks.ts";
import { readConfig } from "../../src/train/loop/prepare.ts";
import { readSnapshot, shownImages } from "../../src/train/probes/snapshots.ts";
import type { Networks } from "./representations.ts";

const BACKBONE = "backbone.";
/** The run and the demo may choose other kernels by batch: the same weights agree within rounding. */
const TOLERANCE = 1e-4;

/** The start values of a run's backbone: each parameter's draws are keyed by its full name, so they are the run's own. */
export function startWeights(config: TrainConfig): ReadonlyMap<string, Float32Array> {
  const rng = new Rng(config.seed).split("init");
  return new Map(
    vitSpecs(vitOf(config)).map((spec) => {
      const data = new Float32Array(sizeOf(spec.shape));
      initParam({ ...spec, name: BACKBONE + spec.name }, data, rng);
      return [spec.name, data] as const;
    }),
  );
}

/** The largest difference between what the run stored before its first step and what `encoder` makes of the same images. */
async function distanceToStart(runDir: string, encoder: Encoder, config: TrainConfig): Promise<number> {
  const shown = shownImages(await readFrozenList(runDir));
  const { crops, data, augment } = config;
  const { mean, std } = augment;
  const sizePx = crops.globalSizePx;
  await using pool = openEvalPool({ resize: "square", threads: 1, decode: data.decode, alpha: data.alpha, mean, std, imageSizePx: sizePx });
  const { images } = await pool.load(shown.entries.map((_, i) => imageRef(shown, i)));
  const { features } = await encoder.encode(images, { pool: "patch", sizePx });
  const stored = (await readSnapshot(runDir, 0))?.tokens ?? new Float32Array(0);
  if (stored.length !== features.length) return Infinity;
  return features.reduce((most, x, i) => Math.max(most, Math.abs(x - (stored[i] ?? NaN))), 0);
}

/** Opens both networks. Throws InternalError when the untrained one is not what the run began with. */
export async function openNetworks(runDir: string, device: Device): Promise<Networks & { readonly startDistance: number }> {
  const { config } = await readConfig(runDir);
  const untrained = new Encoder({ config: vitOf(config), params: startWeights(config), device });
  const startDistance = await distanceToStart(runDir, untrained, config);
  if (!(startDistance < TOLERANCE))
    throw new InternalError(`Cannot compare with the untrained network: it differs by ${startDistance} from what the run began with`);
  const { encoder: trained } = await openModel(join(runDir, "exported", "last"), device);
  return { untrained, trained, startDistance };
}
