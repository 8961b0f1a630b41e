/** @file From what the user said and what the data and the machine are to the whole configuration, each value with its reason. */
import { ConfigError } from "../../core/index.ts";
import { because, type Chooser, makeChooser, METHOD_TITLES } from "./choose.ts";
import type { LearningFacts } from "./learning-facts.ts";
import { settleGram } from "./rules-gram.ts";
import { settleDense, settleDistill, settleInit } from "./rules-init.ts";
import { settleObjective } from "./rules-objective.ts";
import { settleOptim } from "./rules-optim.ts";
import { settleCheckpoint, settleKnn, settleLog } from "./rules-output.ts";
import { settleTrain, stepsInEpoch } from "./rules-run.ts";
import { settleKind, settleSchedule } from "./rules-schedule.ts";
import { parseTrainConfig } from "./schema.ts";
import { gramShape, settleShapes, type Settling, type Shapes, type Top } from "./shapes.ts";
import type { ResolvedConfig, RunFacts, SectionName, TopName, TrainConfig, UserConfig } from "./types.ts";
import { checkConsistent } from "./validate.ts";
import { checkStage } from "./validate-stage.ts";
import { listWarnings } from "./warnings.ts";

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

/** A resolved configuration with what is allowed and unwise in it. */
export type FreshConfig = ResolvedConfig & Required<Pick<ResolvedConfig, "warnings">>;

function settleTop({ user, reasons, facts: { teacher } }: Settling): Top {
  const top = makeChooser<Top>(user, { section: "", reasons });
  return {
    seed: top("seed", () => because(0, "DINO's published default")),
    method: top("method", () =>
      teacher?.method === undefined
        ? because("dino", "DINO's published default")
        : because(teacher.method, `crops and augmentation are those of ${METHOD_TITLES[teacher.method]}, whose kind the teacher is`),
    ),
    stage: top("stage", () => because("pretrain", "the first stage")),
  };
}

/**
 * The whole configuration: the method's published defaults (dino-family §1.2, 2.6, 3.7), an automatic profile for small data, small batches
 * and short runs, what a later stage takes over of the run before it (`facts.parent`), and the user's own values over all. `reasons` says
 * for every key why it has its value ("set by you" for the user's), `warnings` what is allowed and unwise.
 *
 * A run in `train.minutes` is resolved twice: without `facts.measuredSteps` to measure its speed, then with it (contracts 16).
 * What the first pass compiles (model, crops, head, batch) does not depend on the length, so it stays.
 * Throws ConfigError with the key path when values contradict each other, the data, the patch grid or the run before.
 */
export function resolveConfig(user: UserConfig, facts: RunFacts): FreshConfig {
  if (!(facts.images >= 1))
    throw new ConfigError("Cannot configure training: there are no images; check --data", {
      keyPath: "data.path",
    });
  const length = lengthOf(user);
  const reasons: Record<string, string> = {};
  const chooser = <S extends SectionName>(section: S): Chooser<TrainConfig[S]> =>
    makeChooser<TrainConfig[S]>(user[section], { section, reasons });
  const settling = { user, facts, reasons, chooser };
  const top = settleTop(settling);
  checkStage(top, { user, facts });

  const distill = settleDistill(chooser("distill"), facts.teacher);
  const shapes = settleShapes(settling, top, distill);
  const { weights, gramSizePx, ...sections } = shapes;
  const train = settleTrain(chooser("train"), {
    context: {
      facts,
      method: top.method,
      stage: top.stage,
      sized: { ...sections, distill, objective: weights, gram: gramShape(user, gramSizePx) },
    },
    length,
    reasons,
  });
  const config = settleLearning(settling, { top, shapes, train, distill });
  const { epochs, totalSteps } = learningFacts(config, facts);
  checkConsistent(config, { facts, epochs, totalSteps });
  return { config: parseTrainConfig(config), reasons, warnings: listWarnings(config, facts) };
}

function learningFacts(config: Pick<TrainConfig, TopName | "model" | "train" | "crops" | "distill">, facts: RunFacts): LearningFacts {
  const { method, stage, model, train, crops, distill } = config;
  const byFeatures = distill.objective === "features";
  const { stepsPerEpoch, totalSteps = STEPS_BEFORE_MEASURED } = planSteps({ train }, facts.images);
  return {
    method,
    stage,
    model: (byFeatures ? distill.students[0]?.model : undefined) ?? model,
    byFeatures,
    images: facts.images,
    totalBatch: train.batchSize * train.accumulate,
    batchSize: train.batchSize,
    groupSize: train.groupSize,
    totalSteps,
    epochs: totalSteps / stepsPerEpoch,
    globalSizePx: crops.globalSizePx,
    parent: facts.parent,
  };
}

/** What depends on batch and length. */
function settleLearning(
  { facts, chooser }: Settling,
  { top, shapes, train, distill }: { readonly top: Top; readonly shapes: Shapes } & Pick<TrainConfig, "train" | "distill">,
): TrainConfig {
  const { weights, gramSizePx, ...sections } = shapes;
  const learning = learningFacts({ ...top, ...sections, train, distill }, facts);
  const { totalSteps, epochs } = learning;
  const kind = settleKind(chooser("schedule"), learning);
  const init = settleInit(chooser("init"), { facts, method: top.method, totalSteps });
  const optim = settleOptim(chooser("optim"), { ...learning, init, kind });
  const { globalSizePx } = sections.crops;
  return {
    ...top,
    ...sections,
    objective: settleObjective(chooser("objective"), { ...learning, weights }),
    gram: settleGram(chooser("gram"), { sizePx: gramSizePx, totalSteps, stage: top.stage, gramWeight: weights.gramWeight }),
    optim,
    schedule: settleSchedule(chooser("schedule"), { ...learning, kind, lr: optim.lr }),
    train,
    init,
    distill,
    checkpoint: settleCheckpoint(chooser("checkpoint"), totalSteps),
    log: settleLog(chooser("log"), totalSteps),
    knn: settleKnn(chooser("knn"), epochs),
    dense: settleDense(chooser("dense"), { epochs, model: distill.students[0]?.model ?? sections.model, globalSizePx }),
  };
}
