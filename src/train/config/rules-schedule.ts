/** @file Rules of the schedules; their lengths shrink with short runs. */
import { because, type Because, type Chooser, METHOD_TITLES, published } from "./choose.ts";
import { atMost, type LearningFacts, n, runBefore, SHORT_RUN_STEPS, SMALL_BATCH, tidy } from "./learning-facts.ts";
import { METHOD_VALUES } from "./method-values.ts";
import type { ScheduleConfig } from "./types.ts";

/** Warm-ups take at most this share of a run. */
const LR_WARMUP_SHARE = 0.1;
/** The teacher looks back over at most this share of the run: 1 / (1 − m) ≤ share · steps. */
const TEACHER_WINDOW_SHARE = 0.1;
/** DINOv3's teacher momentum: in its first stage, and from the Gram stage on (spec §3.6, 3.7). */
const V3_MOMENTUM = 0.994;
const LATE_MOMENTUM = 0.999;
/** A new optimizer has no moments: a twentieth of a Gram stage; DINOv3's high-resolution stage warms up for a third. */
const STAGE_WARMUP_SHARE = { gram: 0.05, highres: 1 / 3 } as const;

/** Settles whether rates fall or stay. Other rules ask for this first. */
export function settleKind(
  choose: Chooser<ScheduleConfig>,
  { method, stage, totalSteps, byFeatures }: Pick<LearningFacts, "method" | "stage" | "totalSteps" | "byFeatures">,
): ScheduleConfig["kind"] {
  return choose("kind", () => {
    if (byFeatures) return because("cosine", "students learn in one run, which ends");
    if (stage !== "pretrain") return because("constant", "DINOv3's later stages keep their rates");
    if (method !== "dinov3") return published("cosine", method);
    return totalSteps < SHORT_RUN_STEPS
      ? because(
          "cosine",
          `${n(totalSteps)} steps are few and their number is known: cooling down pays; DINOv3's constant rates are for runs without an end`,
        )
      : because("constant", "DINOv3 keeps its rates, so that a run may go on and later stages find it warm");
  });
}

function teacherWindow({ totalSteps }: LearningFacts): number {
  return Number((1 - 1 / Math.max(10, TEACHER_WINDOW_SHARE * totalSteps)).toFixed(4));
}

function usualMomentum(facts: LearningFacts, kind: ScheduleConfig["kind"]): Because<number> {
  const { method, totalBatch } = facts;
  if (runBefore(facts) !== undefined || facts.stage !== "pretrain") return because(LATE_MOMENTUM, "DINOv3's from its Gram stage on");
  const { momentumTeacher } = METHOD_VALUES[method];
  if (totalBatch <= SMALL_BATCH && kind === "cosine")
    return because(0.9995, `DINO advises 0.9995 for batches of about 256; here ${totalBatch}`);
  return kind === "constant" ? because(V3_MOMENTUM, "DINOv3's constant momentum") : published(momentumTeacher, method);
}

function momentumRule(facts: LearningFacts, kind: ScheduleConfig["kind"]): Because<number> {
  if (facts.method === "simclr") return because(0, "SimCLR has no teacher: the average is the network itself");
  const usual = usualMomentum(facts, kind);
  const most = teacherWindow(facts);
  return most < usual.value ? because(most, `the teacher averages over at most a tenth of ${n(facts.totalSteps)} steps`) : usual;
}

function warmupRule(facts: LearningFacts): Because<number> {
  const { stage, epochs, method } = facts;
  if (stage === "pretrain") return atMost(10, LR_WARMUP_SHARE, { epochs, method });
  return because(
    tidy(STAGE_WARMUP_SHARE[stage] * epochs),
    stage === "gram" ? "a twentieth of the run: the optimizer begins anew" : "a third of the run, as in DINOv3's high-resolution stage",
  );
}

/** Settles the schedules. */
export function settleSchedule(
  choose: Chooser<ScheduleConfig>,
  { kind, lr, ...facts }: LearningFacts & { readonly kind: ScheduleConfig["kind"]; readonly lr: number },
): ScheduleConfig {
  const { method } = facts;
  const momentumTeacher = choose("momentumTeacher", () => momentumRule(facts, kind));
  return {
    kind,
    lrWarmupEpochs: choose("lrWarmupEpochs", () => warmupRule(facts)),
    minLr: choose("minLr", () => (kind === "constant" ? because(lr, "constant: the rate itself") : published(1e-6, method))),
    momentumTeacher,
    momentumTeacherEnd: choose("momentumTeacherEnd", () => {
      if (method === "simclr") return because(0, `${METHOD_TITLES[method]} has no teacher`);
      return kind === "constant" ? because(momentumTeacher, "constant: as the first value") : published(1, method);
    }),
  };
}
