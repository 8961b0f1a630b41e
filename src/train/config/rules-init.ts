/** @file Rules of weights to begin with and of the dense probe. */
import { because, type Because, type Chooser } from "./choose.ts";
import { n } from "./learning-facts.ts";
import type { DenseConfig, DistillConfig, InitConfig, ModelConfig, RunFacts, TeacherFacts, TrainConfig } from "./types.ts";

/** New heads settle in a tenth of the run, at most 1,000 steps, before the backbone moves. */
const HEAD_WARMUP_SHARE = 0.1;
const HEAD_WARMUP_STEPS = 1000;

export interface InitRuleOptions {
  readonly facts: RunFacts;
  readonly method: TrainConfig["method"];
  readonly totalSteps: number;
}

function headWarmupRule(from: string | null, { facts, method, totalSteps }: InitRuleOptions): Because<number> {
  if (from === null) return because(0, "all weights are new");
  const { parent } = facts;
  if (parent?.method === method && parent.distill.objective !== "features") return because(0, "the heads come with the backbone");
  const steps = Math.min(HEAD_WARMUP_STEPS, Math.round(HEAD_WARMUP_SHARE * totalSteps));
  return because(steps, `new heads would pull the backbone astray: a tenth of ${n(totalSteps)} steps, at most 1,000, for them alone`);
}

/** Settles the weights to begin with. */
export function settleInit(choose: Chooser<InitConfig>, options: InitRuleOptions): InitConfig {
  const from = choose("from", () => because(null, "random weights"));
  const loraRank = choose("loraRank", () => because(0, "the whole backbone learns"));
  return {
    from,
    allowPartial: choose("allowPartial", () => because(false, "every tensor must fit")),
    loraRank,
    loraAlpha: choose("loraAlpha", () =>
      because(Math.max(1, loraRank), loraRank > 0 ? "as the rank: adapters are added as they are" : "not used: there are no adapters"),
    ),
    headWarmupSteps: choose("headWarmupSteps", () => headWarmupRule(from, options)),
  };
}

/** Settles the teacher and the students of a distillation, and what they are held to. */
export function settleDistill(choose: Chooser<DistillConfig>, teacher: TeacherFacts | undefined): DistillConfig {
  return {
    teacher: choose("teacher", () => because(null, "the run's teacher is its own moving average")),
    objective: choose("objective", () =>
      teacher === undefined ? because("prototypes", "no distillation") : because(teacher.objective, teacher.why),
    ),
    students: choose("students", () => because([], "no distillation")),
  };
}

/** Settles the patch k-NN during training. */
export function settleDense(
  choose: Chooser<DenseConfig>,
  { epochs, model, globalSizePx }: { readonly epochs: number; readonly model: ModelConfig; readonly globalSizePx: number },
): DenseConfig {
  const train = choose("train", () => because(null, "no images with masks were given"));
  const imageSizePx = Math.max(1, Math.round((2 * globalSizePx) / model.patchSizePx)) * model.patchSizePx;
  return {
    train,
    test: choose("test", () => because(null, train === null ? "no images with masks were given" : "the data set's own split")),
    everyEpochs: choose("everyEpochs", () => because(Number(Math.max(epochs / 10, 0.01).toPrecision(3)), "ten times along the run")),
    k: choose("k", () => because(20, "as the k-NN of class tokens")),
    imageSizePx: choose("imageSizePx", () => because(imageSizePx, "twice the global crops: patches are labelled finely")),
  };
}
