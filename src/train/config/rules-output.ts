/** @file Rules of where pictures come from, of what is kept and written down, and of k-NN. */
import { because, type Chooser, published } from "./choose.ts";
import { COLOURS } from "./ingredients.ts";
import type { CheckpointConfig, DataConfig, KnnConfig, LogConfig, RunFacts } from "./types.ts";

/** Settles where pictures come from and how they are read. */
export function settleData(
  choose: Chooser<DataConfig>,
  options: { readonly facts: RunFacts; readonly path: string; readonly channels: number },
): DataConfig {
  const { facts, path, channels } = options;
  const isColour = channels === COLOURS;
  const cacheMb = Math.min(1024, Math.floor((0.05 * facts.memoryBytes) / 2 ** 20));
  return {
    path: choose("path", () => because(path, "the data of this run")),
    decode: choose("decode", () =>
      because(
        "managed",
        isColour
          ? "our own training: EXIF orientation and colour profiles are applied"
          : "EXIF orientation is applied; bands are read as stored",
      ),
    ),
    alpha: choose("alpha", () =>
      because("white", isColour ? "transparent pictures are laid on white" : "not used: alpha is a band like others"),
    ),
    workers: choose("workers", () => because(Math.min(8, facts.cores), "the machine's cores, at most 8: crops are made ahead of the step")),
    cacheMb: choose("cacheMb", () => because(cacheMb, "5 % of the memory, at most 1 GB")),
  };
}

/** A round number near `value` within bounds, so that step counts read well. */
function roundStep(value: number, least: number, most: number): number {
  const bounded = Math.min(most, Math.max(least, value));
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(bounded)) - 1);
  return Math.max(1, Math.round(bounded / unit) * unit);
}

/** Settles what is kept of the run. */
export function settleCheckpoint(choose: Chooser<CheckpointConfig>, totalSteps: number): CheckpointConfig {
  return {
    everySteps: choose("everySteps", () =>
      because(roundStep(totalSteps / 20, 50, 1000), "a twentieth of the run, 50 to 1,000 steps: what a power cut may cost"),
    ),
    keepLast: choose("keepLast", () => because(2, "the last one, and the one before in case it is damaged")),
    milestones: choose("milestones", () => because([0.1, 0.2, 0.5], "early teachers, which Gram anchoring needs")),
  };
}

/** Settles what is written down. */
export function settleLog(choose: Chooser<LogConfig>, totalSteps: number): LogConfig {
  return {
    everySteps: choose("everySteps", () => because(1, "metrics.jsonl has one line a step")),
    tensorboard: choose("tensorboard", () => because(false, "metrics.jsonl and report.html are always written")),
    imagesEverySteps: choose("imagesEverySteps", () =>
      because(roundStep(totalSteps / 8, 1, 100_000), "eight pictures of the features along the run"),
    ),
  };
}

/** Settles k-NN during training. */
export function settleKnn(choose: Chooser<KnnConfig>, epochs: number): KnnConfig {
  const train = choose("train", () => because(null, "no labelled images were given (--knn-data)"));
  return {
    train,
    test: choose("test", () => because(null, train === null ? "no labelled images were given" : "every fifth labelled image is held out")),
    everyEpochs: choose("everyEpochs", () => because(Number(Math.max(epochs / 10, 0.01).toPrecision(3)), "ten times along the run")),
    k: choose("k", () => because(20, "the best k of DINO's evaluation")),
    temperature: choose("temperature", () => published(0.07)),
  };
}
