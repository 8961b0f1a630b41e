/** @file Rules of the objective, from the method, the amount of data and the batch. */
import { because, type Because, type Chooser, inheriting, METHOD_TITLES, published, SMALL_DATA, unused } from "./choose.ts";
import { atMost, type LearningFacts, n, runBefore, SMALL_BATCH } from "./learning-facts.ts";
import { METHOD_VALUES } from "./method-values.ts";
import { SMALL_PX } from "./rules-model.ts";
import type { MethodName, ModelConfig, ObjectiveConfig, StageName } from "./types.ts";

const TEMP_WARMUP_SHARE = 0.3;
/** DINOv3's groups for KoLeo (spec §3.5). */
const KOLEO_GROUP = 16;
/** DINOv3 §3.6, 3.8: the weight of the Gram loss in the refinement and in the high-resolution stage, and of local crops in both. */
const GRAM_WEIGHT = { pretrain: 0, gram: 2, highres: 1.5 } as const;
const LATE_LOCAL_WEIGHT = 0.5;
/**
 * Of a student of features: what a small crop shows is less than the targets say. k-NN (k = 20) of a ViT of width 96 taught by one of 128, 300
 * steps of 32 of 720 CIFAR-10 pictures, mean of three seeds: 48.6 % with 1, 51.0 % with 0.3, 50.0 % without local crops (teacher 52.0 %).
 */
const FEATURES_LOCAL_WEIGHT = 0.3;
/** The weight of the Gram loss rises over 1 of the 200 epochs of DINOv3's refinement, 1,000 steps. */
const GRAM_WARMUP_SHARE = 1 / 200;
const GRAM_WARMUP_STEPS = 1000;

/** Why what belongs to prototypes has a value all the same. */
export const NO_PROTOTYPES = "not used: students are held to features, not to prototypes";

/** The weights that say which parts of the loss there are; they depend on no batch and no length. */
export type Weights = Pick<ObjectiveConfig, "ibotWeight" | "gramWeight">;

/** Settles which parts of the loss there are. */
export function settleWeights(
  choose: Chooser<ObjectiveConfig>,
  {
    method,
    stage,
    model,
    byFeatures,
  }: { readonly method: MethodName; readonly stage: StageName; readonly model: ModelConfig; readonly byFeatures: boolean },
): Weights {
  const { ibotWeight } = METHOD_VALUES[method];
  const title = METHOD_TITLES[method];
  const gramWeight = GRAM_WEIGHT[stage];
  return {
    ibotWeight: choose("ibotWeight", () => {
      if (byFeatures) return because(0, "all patches are matched, none is masked");
      if (ibotWeight === 0) return because(0, `${title} has no iBOT`);
      return model.family === "vit" ? published(ibotWeight, method) : because(0, `a ${model.arch} takes no masked patches`);
    }),
    gramWeight: choose("gramWeight", () =>
      gramWeight === 0
        ? because(0, method === "dinov3" ? "Gram anchoring comes in a stage of its own" : `${title} has no Gram anchoring`)
        : published(gramWeight, "dinov3"),
    ),
  };
}

/** Settles the objective: Sinkhorn-Knopp with KoLeo where data or batch are small and for DINOv2 and DINOv3, DINO's EMA centre elsewhere. */
export function settleObjective(
  chooser: Chooser<ObjectiveConfig>,
  options: LearningFacts & { readonly weights: Weights },
): ObjectiveConfig {
  const { weights, ...facts } = options;
  const choose = inheriting(unused(chooser, facts.byFeatures ? NO_PROTOTYPES : undefined), lastingPart(facts));
  const { method, totalBatch } = facts;
  const centering = choose("centering", () => centeringRule(facts));
  const sinkhorn = centering === "sinkhorn" && method !== "simclr";
  return {
    centering,
    centerMomentum: choose("centerMomentum", () => published(0.9)),
    sinkhornIterations: choose("sinkhornIterations", () => because(3, "DINOv2's default")),
    koleoWeight: choose("koleoWeight", () => {
      if (method === "simclr" || facts.byFeatures) return because(0, "SimCLR has no KoLeo");
      if (sinkhorn && totalBatch >= 2) return because(0.1, "DINOv2's default; spreads features when Sinkhorn-Knopp is used");
      return because(0, method === "dino" ? "DINO has no KoLeo" : "one image has no neighbours");
    }),
    koleoGroup: choose("koleoGroup", () => koleoGroupRule(facts)),
    koleoTopK: choose("koleoTopK", () => because(1, "the nearest neighbour alone, as DINOv2 has it")),
    ...weights,
    ...settleLocalWeight(chooser, facts),
    ...settleFeatureWeights(chooser, facts),
    gramWeightWarmupSteps: choose("gramWeightWarmupSteps", () => gramWarmupRule(facts, weights)),
    ...settleTemperatures(choose, { ...facts, sinkhorn }),
  };
}

/** What a later stage takes over; neighbours and weights of the stage's own are not among it. */
function lastingPart(facts: LearningFacts): Partial<ObjectiveConfig> | undefined {
  const before = runBefore(facts)?.objective;
  if (before === undefined) return undefined;
  const { centering, centerMomentum, sinkhornIterations, koleoWeight, koleoTopK, studentTemp, teacherTemp } = before;
  return { centering, centerMomentum, sinkhornIterations, koleoWeight, koleoTopK, studentTemp, teacherTemp };
}

function centeringRule({ method, images, totalBatch }: LearningFacts): Because<ObjectiveConfig["centering"]> {
  if (method === "simclr") return because("ema", "not used: SimCLR has no targets");
  if (method !== "dino") return because("sinkhorn", `what ${METHOD_TITLES[method]}'s released models were trained with`);
  const cause =
    images < SMALL_DATA ? `${n(images)} images are few` : totalBatch < SMALL_BATCH ? `${totalBatch} images a step are few` : undefined;
  return cause === undefined
    ? published("ema")
    : because("sinkhorn", `${cause}: in small trials Sinkhorn-Knopp targets learned from the first minute, an EMA centre hardly`);
}

function koleoGroupRule({ method, batchSize, groupSize }: LearningFacts): Because<number> {
  return method === "dinov3" && groupSize > KOLEO_GROUP && batchSize % KOLEO_GROUP === 0
    ? because(KOLEO_GROUP, "DINOv3 looks for neighbours in groups of 16")
    : because(groupSize, "the images of a group (train.groupSize)");
}

function settleLocalWeight(
  choose: Chooser<ObjectiveConfig>,
  { method, stage, byFeatures }: LearningFacts,
): Pick<ObjectiveConfig, "localWeight" | "localWeightEnd"> {
  const localWeight = choose("localWeight", () =>
    byFeatures
      ? because(
          FEATURES_LOCAL_WEIGHT,
          "in trials students came nearer to their teacher than with 1, and classified better than with 1 or none",
        )
      : stage === "pretrain"
        ? because(1, method === "simclr" ? "not used: SimCLR has no local crops" : "every pair of crops counts the same")
        : because(LATE_LOCAL_WEIGHT, "DINOv3 halves the local crops' part from its Gram stage on"),
  );
  return { localWeight, localWeightEnd: choose("localWeightEnd", () => because(localWeight, "the same along the run")) };
}

function settleFeatureWeights(
  choose: Chooser<ObjectiveConfig>,
  { byFeatures }: LearningFacts,
): Pick<ObjectiveConfig, "clsWeight" | "patchWeight"> {
  const rule = (what: string) => () => because(1, byFeatures ? `${what} count the same` : "not used: no distillation by features");
  return { clsWeight: choose("clsWeight", rule("pictures and patches")), patchWeight: choose("patchWeight", rule("patches and pictures")) };
}

function gramWarmupRule({ stage, totalSteps }: LearningFacts, { gramWeight }: Weights): Because<number> {
  if (gramWeight === 0) return because(0, "no Gram loss");
  if (stage === "highres") return because(0, "the features come from a Gram stage: its weight stays");
  const steps = Math.min(GRAM_WARMUP_STEPS, Math.round(GRAM_WARMUP_SHARE * totalSteps));
  return because(steps, `one part in 200 of ${n(totalSteps)} steps, at most 1,000, as in DINOv3's refinement`);
}

function settleTemperatures(
  choose: Chooser<ObjectiveConfig>,
  { method, images, epochs, globalSizePx, sinkhorn, ...facts }: LearningFacts & { readonly sinkhorn: boolean },
): Pick<ObjectiveConfig, "studentTemp" | "teacherTemp" | "warmupTeacherTemp" | "warmupTeacherTempEpochs"> {
  const { warm: usualWarm, final } = METHOD_VALUES[method].temps;
  const few = images < SMALL_DATA || method === "dino";
  const teacherTemp = choose("teacherTemp", () => {
    if (method === "simclr") return because(final, "not used: SimCLR has no teacher");
    return sinkhorn && few ? because(0.05, "what worked with Sinkhorn-Knopp targets in small trials") : published(final, method);
  });
  const warmsUp = !few && usualWarm < teacherTemp && runBefore({ ...facts }) === undefined;
  const warmupTeacherTemp = choose("warmupTeacherTemp", () =>
    warmsUp ? published(usualWarm, method) : because(teacherTemp, "no warm-up: the teacher's temperature"),
  );
  const warm = warmupTeacherTemp !== teacherTemp;
  return {
    studentTemp: choose("studentTemp", () =>
      method === "simclr" && globalSizePx <= SMALL_PX ? because(0.5, "SimCLR's for small pictures (CIFAR-10)") : published(0.1, method),
    ),
    teacherTemp,
    warmupTeacherTemp,
    warmupTeacherTempEpochs: choose("warmupTeacherTempEpochs", () =>
      warm ? atMost(30, TEMP_WARMUP_SHARE, { epochs, method }) : because(0, "both temperatures are the same"),
    ),
  };
}
