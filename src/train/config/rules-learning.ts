/** @file Rules of learning: head, objective, optimizer and schedules, from the amount of data, the batch and the length of the run. */
import { because, type Because, type Chooser, published, SMALL_DATA } from "./choose.ts";
import type { HeadConfig, ModelConfig, ObjectiveConfig, OptimConfig, ScheduleConfig } from "./types.ts";

/** Below this many images in a step EMA centring is unsteady. */
const SMALL_BATCH = 256;
/** Images behind one prototype: 10,000 images learn with 512 prototypes, ImageNet's 1.28 million with 65,536. */
const IMAGES_PER_PROTOTYPE = 16;
const MAX_PROTOTYPES = 65_536;
const MIN_PROTOTYPES = 256;
/** Sinkhorn-Knopp gives every prototype the same share of a step's rows, two an image: with more, targets are spread thin. */
const PROTOTYPES_PER_IMAGE_OF_A_STEP = 4;
/** Warm-ups and freezes take at most these shares of a run. */
const LR_WARMUP_SHARE = 0.1;
const FREEZE_SHARE = 0.05;
const TEMP_WARMUP_SHARE = 0.3;
/** Below this many steps a run is short. */
const SHORT_RUN_STEPS = 20_000;
/** The teacher looks back over at most this share of the run: 1 / (1 − m) ≤ share · steps. */
const TEACHER_WINDOW_SHARE = 0.1;
const NARROW = 192;

const n = (value: number): string => value.toLocaleString("en-US");
const tidy = (value: number): number => Number(value.toPrecision(3));

/** What the rules know of the run. `totalSteps` is a guess while a run in minutes has not measured its speed. */
export interface LearningFacts {
  readonly images: number;
  /** Images in one optimizer step. */
  readonly totalBatch: number;
  readonly totalSteps: number;
  readonly epochs: number;
}

/** Settles the projection head: as many prototypes as the data can fill, hidden layers as wide as the network deserves. */
export function settleHead(
  choose: Chooser<HeadConfig>,
  options: { readonly images: number; readonly model: ModelConfig; readonly batch: number },
): HeadConfig {
  const { images, model, batch } = options;
  const narrow = model.width <= NARROW;
  const power = 2 ** Math.floor(Math.log2(Math.max(1, images / IMAGES_PER_PROTOTYPE)));
  const prototypes = Math.min(MAX_PROTOTYPES, Math.max(MIN_PROTOTYPES, power));
  const fed = Math.max(MIN_PROTOTYPES, 2 ** Math.floor(Math.log2(PROTOTYPES_PER_IMAGE_OF_A_STEP * batch)));
  const small = <T>(value: T, usual: T): Because<T> =>
    narrow ? because(value, `a network of width ${model.width} needs no larger head`) : published(usual);
  return {
    prototypes: choose("prototypes", () =>
      images < SMALL_DATA && fed < prototypes
        ? because(fed, `what a step of ${batch} images can feed: Sinkhorn-Knopp shares its rows out evenly`)
        : prototypes === MAX_PROTOTYPES
          ? published(MAX_PROTOTYPES)
          : because(prototypes, `${n(images)} images: one prototype for about ${IMAGES_PER_PROTOTYPE} of them`),
    ),
    hidden: choose("hidden", () => small(512, 2048)),
    bottleneck: choose("bottleneck", () => small(128, 256)),
    layers: choose("layers", () => published(3)),
    batchNorm: choose("batchNorm", () => published(false)),
    normLastLayer: choose("normLastLayer", () => published(true)),
  };
}

/** Settles the objective: Sinkhorn-Knopp with KoLeo where data or batch are small, DINO's EMA centre elsewhere. */
export function settleObjective(choose: Chooser<ObjectiveConfig>, facts: LearningFacts): ObjectiveConfig {
  const { images, totalBatch, epochs } = facts;
  const cause =
    images < SMALL_DATA ? `${n(images)} images are few` : totalBatch < SMALL_BATCH ? `${totalBatch} images a step are few` : undefined;
  const centering = choose("centering", () =>
    cause === undefined
      ? published("ema")
      : because("sinkhorn", `${cause}: in small trials Sinkhorn-Knopp targets learned from the first minute, an EMA centre hardly`),
  );
  const sinkhorn = centering === "sinkhorn";
  const teacherTemp = choose("teacherTemp", () =>
    sinkhorn ? because(0.05, "what worked with Sinkhorn-Knopp targets in small trials") : published(0.04),
  );
  const warmupTeacherTemp = choose("warmupTeacherTemp", () => because(teacherTemp, "no warm-up: the teacher's temperature"));
  const warm = warmupTeacherTemp !== teacherTemp;
  return {
    centering,
    centerMomentum: choose("centerMomentum", () => published(0.9)),
    sinkhornIterations: choose("sinkhornIterations", () => because(3, "DINOv2's default")),
    koleoWeight: choose("koleoWeight", () =>
      sinkhorn && totalBatch >= 2
        ? because(0.1, "DINOv2's default; spreads features when Sinkhorn-Knopp is used")
        : because(0, "DINO has no KoLeo"),
    ),
    studentTemp: choose("studentTemp", () => published(0.1)),
    teacherTemp,
    warmupTeacherTemp,
    warmupTeacherTempEpochs: choose("warmupTeacherTempEpochs", () =>
      warm ? atMost(30, TEMP_WARMUP_SHARE, epochs) : because(0, "both temperatures are the same"),
    ),
  };
}

/** A published length in epochs, or a share of the run where the run is too short for it. */
function atMost(usual: number, part: number, epochs: number): Because<number> {
  const most = part * epochs;
  return usual <= most
    ? published(usual)
    : because(tidy(most), `${usual} epochs by default, but at most ${Math.round(100 * part)} % of ${tidy(epochs)} epochs`);
}

function lrRule(model: ModelConfig, totalBatch: number): Because<number> {
  const scaled = tidy((5e-4 * totalBatch) / 256);
  if (model.width <= NARROW && scaled < 5e-4) return because(5e-4, `a network of width ${model.width} takes DINO's 5e-4 at any batch`);
  return because(scaled, `DINO's 5e-4 x ${totalBatch} / 256 images a step`);
}

/** Settles the optimizer. `optim.lr` is the peak as used, the batch already counted in. */
export function settleOptim(
  choose: Chooser<OptimConfig>,
  options: { readonly facts: LearningFacts; readonly model: ModelConfig },
): OptimConfig {
  const { facts, model } = options;
  const weightDecay = choose("weightDecay", () => published(0.04));
  const short = facts.totalSteps < SHORT_RUN_STEPS;
  return {
    name: choose("name", () => published("adamw")),
    lr: choose("lr", () => lrRule(model, facts.totalBatch)),
    betas: choose("betas", () => published([0.9, 0.999] as const)),
    eps: choose("eps", () => published(1e-8)),
    weightDecay,
    weightDecayEnd: choose("weightDecayEnd", () =>
      short ? because(weightDecay, `${n(facts.totalSteps)} steps are too few for the rise to 0.4 to help`) : published(0.4),
    ),
    clipNorm: choose("clipNorm", () => published(3)),
    clipKind: choose("clipKind", () => published("per-parameter")),
    momentum: choose("momentum", () => published(0.9)),
    freezeLastLayerEpochs: choose("freezeLastLayerEpochs", () => atMost(1, FREEZE_SHARE, facts.epochs)),
    layerDecay: choose("layerDecay", () => because(1, "DINO has no layer-wise decay")),
    patchEmbedLrScale: choose("patchEmbedLrScale", () => because(1, "DINO trains its patch embedding as the rest")),
  };
}

function momentumRule({ totalBatch, totalSteps }: LearningFacts): Because<number> {
  const usual = totalBatch <= SMALL_BATCH ? 0.9995 : 0.996;
  const most = Number((1 - 1 / Math.max(10, TEACHER_WINDOW_SHARE * totalSteps)).toFixed(4));
  if (most < usual) return because(most, `the teacher averages over at most a tenth of ${n(totalSteps)} steps`);
  return usual === 0.996 ? published(usual) : because(usual, `DINO advises 0.9995 for batches of about 256; here ${totalBatch}`);
}

/** Settles the schedules; their lengths shrink with short runs. */
export function settleSchedule(choose: Chooser<ScheduleConfig>, facts: LearningFacts): ScheduleConfig {
  return {
    lrWarmupEpochs: choose("lrWarmupEpochs", () => atMost(10, LR_WARMUP_SHARE, facts.epochs)),
    minLr: choose("minLr", () => published(1e-6)),
    momentumTeacher: choose("momentumTeacher", () => momentumRule(facts)),
    momentumTeacherEnd: choose("momentumTeacherEnd", () => published(1)),
  };
}
