/** @file The edge of the configuration: what a file, the command line or an older run says is checked here, key by key, and trusted after. */
import { z } from "zod";
import { ConfigError } from "../../core/index.ts";
import { show, toConfigError, unknownKey as unknownKeyIn } from "./schema-errors.ts";
import {
  atLeast1,
  choice,
  count,
  countOrZero,
  flag,
  notNegative,
  perChannel,
  positive,
  range,
  rateBelow1,
  share,
  text,
  triple,
  wants,
} from "./schema-values.ts";
import type { TrainConfig, UserConfig } from "./types.ts";
import { withLaterKeys } from "./upgrade.ts";

const areaRange = range(positive.max(1, wants("a number above 0 and up to 1")), "each above 0 and up to 1 (shares of the picture's area)");
const SIZES =
  "a list of { globalSizePx, localSizePx, gramSizePx, ratio }: whole pixels (gramSizePx 0 = the global size) and a share of the steps";
const sizes = z.array(
  z.strictObject(
    {
      globalSizePx: z.int(wants(SIZES)).min(1, wants(SIZES)),
      localSizePx: z.int(wants(SIZES)).min(1, wants(SIZES)),
      gramSizePx: z.int(wants(SIZES)).min(0, wants(SIZES)),
      ratio: z.number(wants(SIZES)).gt(0, wants(SIZES)).max(1, wants(SIZES)),
    },
    wants(SIZES),
  ),
  wants(SIZES),
);

const model = z.strictObject({
  arch: text,
  family: choice("vit", "convnext", "resnet"),
  depth: count,
  width: count,
  heads: count,
  mlpRatio: positive,
  patchSizePx: count,
  imageSizePx: count,
  channels: count,
  dropPath: rateBelow1,
  dropPathKind: choice("per-sample", "subset"),
  dropPathUniform: flag,
  posInterpolation: choice("meta-offset", "size", "size-antialias"),
  posEmbedInit: choice("normal", "sincos"),
  registers: countOrZero,
  layerScale: notNegative,
  ffn: choice("mlp", "swiglu-fused", "swiglu"),
  ffnHidden: countOrZero,
  qkvBias: flag,
  keyBiasMask: flag,
  norm: choice("layernorm", "rmsnorm"),
  layerNormEps: positive,
  positions: choice("learned", "rope"),
  ropeBase: z.number(wants("a number above 1")).gt(1, wants("a number above 1")),
  ropeShift: notNegative,
  ropeJitter: atLeast1,
  ropeRescale: atLeast1,
  maskToken: flag,
  localClsNorm: flag,
});
const crops = z.strictObject({
  globalSizePx: count,
  localSizePx: count,
  localCount: countOrZero,
  globalScaleRange: areaRange,
  localScaleRange: areaRange,
  interpolation: choice("bicubic", "bilinear"),
  sizes,
});
const augment = z.strictObject({
  hflip: share,
  jitterProb: share,
  brightness: notNegative,
  contrast: notNegative,
  saturation: notNegative,
  hue: notNegative.max(0.5, wants("a number from 0 to 0.5")),
  grayscale: share,
  blur: choice("published", "intended"),
  blurProb: triple(share, "each from 0 to 1 (first global, second global, local)"),
  blurSigmaRange: range(positive, "each above 0"),
  solarizeProb: triple(share, "each from 0 to 1 (first global, second global, local)"),
  solarizeThreshold: notNegative.max(255, wants("a number from 0 to 255")),
  mean: perChannel(z.number(wants("a number")), "one a channel"),
  std: perChannel(positive, "one a channel, each above 0"),
});
const mask = z.strictObject({
  probability: share,
  ratioMin: share,
  ratioMax: share,
  fill: choice("under", "exact"),
  shift: flag,
});
const head = z.strictObject({
  prototypes: count.min(2, wants("a whole number of at least 2")),
  hidden: count,
  bottleneck: count,
  layers: count,
  batchNorm: flag,
  normLastLayer: flag,
  lastLayer: choice("weight-norm", "plain"),
  ibotSeparate: flag,
  ibotPrototypes: count.min(2, wants("a whole number of at least 2")),
  ibotHidden: count,
  ibotBottleneck: count,
});
const objective = z.strictObject({
  centering: choice("ema", "sinkhorn"),
  centerMomentum: share,
  sinkhornIterations: count,
  koleoWeight: notNegative,
  koleoGroup: count,
  koleoTopK: count,
  ibotWeight: notNegative,
  localWeight: notNegative,
  localWeightEnd: notNegative,
  clsWeight: notNegative,
  patchWeight: notNegative,
  gramWeight: notNegative,
  gramWeightWarmupSteps: countOrZero,
  studentTemp: positive,
  teacherTemp: positive,
  warmupTeacherTemp: positive,
  warmupTeacherTempEpochs: notNegative,
});
const gram = z.strictObject({
  teacher: text.nullable(),
  sizePx: countOrZero,
  useEma: flag,
  firstUpdateStep: countOrZero,
  updateEverySteps: countOrZero,
  maxUpdates: countOrZero,
  normalize: flag,
  level: choice("image", "batch"),
  removeNegative: flag,
  removeOnlyTeacherNegative: flag,
  tokens: choice("all", "masked", "unmasked"),
});
const optim = z.strictObject({
  name: choice("adamw", "sgd", "lars"),
  lr: positive,
  betas: z.tuple([rateBelow1, rateBelow1], wants("two numbers, each from 0 to below 1")),
  eps: positive,
  weightDecay: notNegative,
  weightDecayEnd: notNegative,
  decayRule: choice("dino", "dinov2"),
  clipNorm: positive,
  clipKind: choice("none", "per-parameter", "global", "per-module"),
  momentum: rateBelow1,
  freezeLastLayerEpochs: notNegative,
  layerDecay: positive.max(1, wants("a number above 0 and up to 1")),
  patchEmbedLrScale: notNegative,
});
const schedule = z.strictObject({
  kind: choice("cosine", "constant"),
  lrWarmupEpochs: notNegative,
  minLr: notNegative,
  momentumTeacher: share,
  momentumTeacherEnd: share,
});
const train = z.strictObject({
  epochs: positive.nullable(),
  steps: count.nullable(),
  minutes: positive.nullable(),
  batchSize: count,
  accumulate: count,
  checkpointing: flag,
  threads: count,
  groupSize: count,
});
const init = z.strictObject({
  from: text.nullable(),
  allowPartial: flag,
  loraRank: countOrZero,
  loraAlpha: positive,
  headWarmupSteps: countOrZero,
});
const distill = z.strictObject({
  teacher: text.nullable(),
  objective: choice("prototypes", "features"),
  students: z.array(z.strictObject({ name: text, model })),
});
const data = z.strictObject({
  path: text,
  decode: choice("python", "managed"),
  alpha: choice("drop", "white", "black"),
  workers: count,
  cacheMb: notNegative,
});
const checkpoint = z.strictObject({
  everySteps: count,
  keepLast: count,
  milestones: z.array(share, wants("a list of numbers from 0 to 1")),
});
const log = z.strictObject({ everySteps: count, tensorboard: flag, imagesEverySteps: countOrZero });
const knn = z.strictObject({
  train: text.nullable(),
  test: text.nullable(),
  everyEpochs: positive,
  k: count,
  temperature: positive,
});
const dense = z.strictObject({
  train: text.nullable(),
  test: text.nullable(),
  everyEpochs: positive,
  k: count,
  imageSizePx: count,
});
const seed = z.int(wants("a whole number of at least 0")).min(0, wants("a whole number of at least 0"));
const method = choice("dino", "dinov2", "dinov3", "simclr");
const stage = choice("pretrain", "gram", "highres");

const TOP = { seed, method, stage };
const SECTIONS = {
  model,
  crops,
  augment,
  mask,
  head,
  objective,
  gram,
  optim,
  schedule,
  train,
  init,
  distill,
  data,
  checkpoint,
  log,
  knn,
  dense,
};

const fullSchema = z.strictObject({ ...TOP, ...SECTIONS }) satisfies z.ZodType<TrainConfig>;
const userSchema = z.strictObject({
  seed: seed.optional(),
  method: method.optional(),
  stage: stage.optional(),
  model: model.partial().optional(),
  crops: crops.partial().optional(),
  augment: augment.partial().optional(),
  mask: mask.partial().optional(),
  head: head.partial().optional(),
  objective: objective.partial().optional(),
  gram: gram.partial().optional(),
  optim: optim.partial().optional(),
  schedule: schedule.partial().optional(),
  train: train.partial().optional(),
  init: init.partial().optional(),
  distill: distill.partial().optional(),
  data: data.partial().optional(),
  checkpoint: checkpoint.partial().optional(),
  log: log.partial().optional(),
  knn: knn.partial().optional(),
  dense: dense.partial().optional(),
}) satisfies z.ZodType<UserConfig>;

const LEAVES: ReadonlyMap<string, z.ZodType> = new Map<string, z.ZodType>([
  ...Object.entries<z.ZodType>(TOP),
  ...Object.entries(SECTIONS).flatMap(([name, section]) =>
    Object.entries<z.ZodType>(section.shape).map(([key, leaf]): [string, z.ZodType] => [`${name}.${key}`, leaf]),
  ),
]);

/** Every dotted key path there is, in order. */
export const CONFIG_KEYS: readonly string[] = [...LEAVES.keys()];

const TABLE = { keys: CONFIG_KEYS, sections: Object.keys(SECTIONS) };

/** The error of a key that does not exist. */
export function unknownKey(path: string, source: string): ConfigError {
  return unknownKeyIn(path, { source, table: TABLE });
}

/**
 * Checks what a user wrote: any part of the configuration. Throws ConfigError with the key path, what was found and what was wanted;
 * for a key that does not exist, the nearest one.
 */
export function parseUserConfig(value: unknown, source = "the configuration"): UserConfig {
  const parsed = userSchema.safeParse(value);
  if (!parsed.success) throw toConfigError(parsed.error, { root: value, source, table: TABLE });
  return parsed.data;
}

/** Checks a whole configuration, as `config.json` of a run holds it; one that an earlier release wrote gets the keys that came later. */
export function parseTrainConfig(value: unknown, source = "the configuration"): TrainConfig {
  const parsed = fullSchema.safeParse(withLaterKeys(value));
  if (!parsed.success) throw toConfigError(parsed.error, { root: value, source, table: TABLE });
  return parsed.data;
}

/**
 * The value of `--set key=text`: the first reading of the text that the key takes. `readings` are tried in order
 * (the text read as YAML, then the bare text, so that `data.path=2024` is a path and `train.steps=24` a number).
 */
export function readLeaf(path: string, readings: readonly unknown[], source: string): unknown {
  const leaf = LEAVES.get(path);
  if (leaf === undefined) throw unknownKey(path, source);
  const parsed = readings.map((reading) => leaf.safeParse(reading));
  const good = parsed.find((result) => result.success);
  if (good !== undefined) return good.data;
  const message = parsed[0]?.error?.issues[0]?.message ?? "another value";
  throw new ConfigError(`Cannot use config key "${path}" of ${source}: got ${show(readings[0])}, wanted ${message}; change the value`, {
    keyPath: path,
  });
}
