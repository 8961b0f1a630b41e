/** @file From what the user said and what the data and the machine are to the whole configuration, each value with its reason. */
import { ConfigError } from "../../core/index.ts";
import { because, type Chooser, makeChooser, published, SET_BY_YOU } from "./choose.ts";
import { settleHead, settleObjective, settleOptim, settleSchedule } from "./rules-learning.ts";
import { settleAugment, settleCrops, settleModel } from "./rules-model.ts";
import { intendedBatch, settleCheckpoint, settleData, settleKnn, settleLog, settleTrain, stepsInEpoch } from "./rules-run.ts";
import { parseTrainConfig } from "./schema.ts";
import type { ResolvedConfig, RunFacts, SectionName, TrainConfig, UserConfig } from "./types.ts";
import { checkConsistent } from "./validate.ts";

/** What the rules of length-dependent values assume while a run in minutes has not measured its speed. */
const STEPS_BEFORE_MEASURED = 1000;

/** How long a run is. `totalSteps` is undefined for a run in minutes that has not measured its speed. */
export interface StepPlan {
  readonly stepsPerEpoch: number;
  readonly totalSteps: number | undefined;
}

/** Steps an epoch and in all; a fraction of an epoch is rounded to whole steps, at least one. */
export function planSteps(config: Pick<TrainConfig, "train">, images: number): StepPlan {
  const { batchSize, accumulate, steps, epochs } = config.train;
  const stepsPerEpoch = stepsInEpoch(images, batchSize * accumulate);
  const totalSteps = steps ?? (epochs === null ? undefined : Math.max(1, Math.round(epochs * stepsPerEpoch)));
  return { stepsPerEpoch, totalSteps };
}

function lengthOf(user: UserConfig): {
  epochs: number | null;
  steps: number | null;
  minutes: number | null;
} {
  const { epochs = null, steps = null, minutes = null } = user.train ?? {};
  const said = Object.entries({ epochs, steps, minutes }).filter(([, value]) => value !== null);
  if (said.length > 1) {
    const names = said.map(([key]) => `train.${key}`).join(" and ");
    throw new ConfigError(`Cannot tell how long to train: ${names} are both set; keep one`, {
      keyPath: `train.${said[1]?.[0] ?? "epochs"}`,
    });
  }
  return { epochs, steps, minutes };
}

/**
 * The whole configuration: DINO's published defaults (dino-family §1.2), an automatic profile for small data, small batches and short runs,
 * and the user's own values over both. `reasons` says for every key why it has its value ("set by you" for the user's).
 *
 * A run in `train.minutes` is resolved twice: without `facts.measuredSteps` to measure its speed, then with it (contracts 16).
 * What the first pass compiles (model, crops, head, batch) does not depend on the length, so it stays.
 * Throws ConfigError with the key path when values contradict each other, the data or the patch grid.
 */
export function resolveConfig(user: UserConfig, facts: RunFacts): ResolvedConfig {
  if (!(facts.images >= 1))
    throw new ConfigError("Cannot configure training: there are no images; check --data", {
      keyPath: "data.path",
    });
  const length = lengthOf(user);
  const reasons: Record<string, string> = {};
  const chooser = <S extends SectionName>(section: S): Chooser<TrainConfig[S]> =>
    makeChooser<TrainConfig[S]>(user[section], { section, reasons });
  const top = makeChooser<Pick<TrainConfig, "seed" | "method">>(user, { section: "", reasons: {} });
  for (const key of ["seed", "method"] as const) reasons[key] = user[key] === undefined ? "DINO's published default" : SET_BY_YOU;

  const seed = top("seed", () => published(0));
  const method = top("method", () => because("dino", "the method of this release"));
  const model = settleModel(chooser("model"), { user, facts });
  const crops = settleCrops(chooser("crops"), model);
  const augment = settleAugment(chooser("augment"), crops);
  const head = settleHead(chooser("head"), { images: facts.images, model, batch: intendedBatch(user, crops) });
  const data = settleData(chooser("data"), { facts, path: user.data?.path ?? "." });
  const train = settleTrain(chooser("train"), {
    context: { facts, model, crops, head, cacheMb: data.cacheMb },
    length,
    reasons,
  });

  const { stepsPerEpoch, totalSteps = STEPS_BEFORE_MEASURED } = planSteps({ train }, facts.images);
  const epochs = totalSteps / stepsPerEpoch;
  const learning = {
    images: facts.images,
    totalBatch: train.batchSize * train.accumulate,
    totalSteps,
    epochs,
  };
  const config: TrainConfig = {
    seed,
    method,
    model,
    crops,
    augment,
    head,
    objective: settleObjective(chooser("objective"), learning),
    optim: settleOptim(chooser("optim"), { facts: learning, model }),
    schedule: settleSchedule(chooser("schedule"), learning),
    train,
    data,
    checkpoint: settleCheckpoint(chooser("checkpoint"), totalSteps),
    log: settleLog(chooser("log"), totalSteps),
    knn: settleKnn(chooser("knn"), epochs),
  };
  checkConsistent(config, { images: facts.images, epochs });
  return { config: parseTrainConfig(config), reasons };
}

/** The configuration as `--print-config` shows it: one line a value, `key = value  # reason`. */
export function formatConfig({ config, reasons }: ResolvedConfig): string {
  const rows = flatten(config).map(([key, value]): [string, string] => [`${key} = ${JSON.stringify(value)}`, reasons[key] ?? ""]);
  const wide = Math.min(56, Math.max(...rows.map(([left]) => left.length)));
  return rows.map(([left, reason]) => (reason === "" ? left : `${left.padEnd(wide)}  # ${reason}`)).join("\n");
}

/** Every key path with its value, in the order of the configuration. */
export function flatten(config: TrainConfig): readonly (readonly [keyPath: string, value: unknown])[] {
  return Object.entries(config).flatMap(([name, value]: [string, unknown]): (readonly [string, unknown])[] =>
    typeof value === "object" && value !== null
      ? Object.entries(value).map(([key, inner]: [string, unknown]) => [`${name}.${key}`, inner] as const)
      : [[name, value] as const],
  );
}
