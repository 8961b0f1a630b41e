/** @file The edge of the configuration: what a file, the command line or an older run says is checked here, key by key, and trusted after. */
import { z } from "zod";
import { ConfigError, InternalError, nearestName, nameHint } from "../../core/index.ts";
import type { TrainConfig, UserConfig } from "./types.ts";

const wants = (text: string): { error: string } => ({ error: text });

const count = z.int(wants("a whole number of at least 1")).min(1, wants("a whole number of at least 1"));
const countOrZero = z.int(wants("a whole number of at least 0")).min(0, wants("a whole number of at least 0"));
const positive = z.number(wants("a number above 0")).gt(0, wants("a number above 0"));
const notNegative = z.number(wants("a number of at least 0")).min(0, wants("a number of at least 0"));
const share = z.number(wants("a number from 0 to 1")).min(0, wants("a number from 0 to 1")).max(1, wants("a number from 0 to 1"));
const rateBelow1 = z
  .number(wants("a number from 0 to below 1"))
  .min(0, wants("a number from 0 to below 1"))
  .lt(1, wants("a number from 0 to below 1"));
const flag = z.boolean(wants("true or false"));
const text = z.string(wants("a text")).min(1, wants("a text that is not empty"));
const choice = <const T extends readonly [string, ...string[]]>(...names: T): z.ZodEnum<{ [K in T[number]]: K }> => {
  const said = names.map((n) => `"${n}"`).join(" or ");
  // z.enum types its result by the literal names, which the generic T already carries
  return z.enum(names, wants(said)) as z.ZodEnum<{ [K in T[number]]: K }>;
};
const triple = (of: z.ZodNumber, said: string): z.ZodTuple<[z.ZodNumber, z.ZodNumber, z.ZodNumber], null> =>
  z.tuple([of, of, of], wants(`three numbers, ${said}`));
const range = (of: z.ZodNumber, said: string): z.ZodType<[number, number]> => {
  const message = `two numbers, the lower first, ${said}`;
  return z.tuple([of, of], wants(message)).refine(([lo, hi]) => lo <= hi, wants(message));
};
const areaRange = range(positive.max(1, wants("a number above 0 and up to 1")), "each above 0 and up to 1 (shares of the picture's area)");

const model = z.strictObject({
  arch: text,
  depth: count,
  width: count,
  heads: count,
  mlpRatio: positive,
  patchSizePx: count,
  imageSizePx: count,
  dropPath: rateBelow1,
  posInterpolation: choice("meta-offset", "size", "size-antialias"),
  posEmbedInit: choice("normal", "sincos"),
});
const crops = z.strictObject({
  globalSizePx: count,
  localSizePx: count,
  localCount: countOrZero,
  globalScaleRange: areaRange,
  localScaleRange: areaRange,
  interpolation: choice("bicubic", "bilinear"),
});
const augment = z.strictObject({
  hflip: share,
  jitterProb: share,
  brightness: notNegative,
  contrast: notNegative,
  saturation: notNegative,
  hue: notNegative.max(0.5, wants("a number from 0 to 0.5")),
  grayscale: share,
  blurProb: triple(share, "each from 0 to 1 (first global, second global, local)"),
  blurSigmaRange: range(positive, "each above 0"),
  solarizeProb: triple(share, "each from 0 to 1 (first global, second global, local)"),
  solarizeThreshold: notNegative.max(255, wants("a number from 0 to 255")),
  mean: triple(z.number(wants("a number")), "one a channel"),
  std: triple(positive, "one a channel, each above 0"),
});
const head = z.strictObject({
  prototypes: count.min(2, wants("a whole number of at least 2")),
  hidden: count,
  bottleneck: count,
  layers: count,
  batchNorm: flag,
  normLastLayer: flag,
});
const objective = z.strictObject({
  centering: choice("ema", "sinkhorn"),
  centerMomentum: share,
  sinkhornIterations: count,
  koleoWeight: notNegative,
  studentTemp: positive,
  teacherTemp: positive,
  warmupTeacherTemp: positive,
  warmupTeacherTempEpochs: notNegative,
});
const optim = z.strictObject({
  name: choice("adamw", "sgd", "lars"),
  lr: positive,
  betas: z.tuple([rateBelow1, rateBelow1], wants("two numbers, each from 0 to below 1")),
  eps: positive,
  weightDecay: notNegative,
  weightDecayEnd: notNegative,
  clipNorm: positive,
  clipKind: choice("none", "per-parameter", "global", "per-module"),
  momentum: rateBelow1,
  freezeLastLayerEpochs: notNegative,
  layerDecay: positive.max(1, wants("a number above 0 and up to 1")),
  patchEmbedLrScale: notNegative,
});
const schedule = z.strictObject({
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
const seed = z.int(wants("a whole number of at least 0")).min(0, wants("a whole number of at least 0"));
const method = choice("dino");

const SECTIONS = {
  model,
  crops,
  augment,
  head,
  objective,
  optim,
  schedule,
  train,
  data,
  checkpoint,
  log,
  knn,
};

const fullSchema = z.strictObject({ seed, method, ...SECTIONS }) satisfies z.ZodType<TrainConfig>;
const userSchema = z.strictObject({
  seed: seed.optional(),
  method: method.optional(),
  model: model.partial().optional(),
  crops: crops.partial().optional(),
  augment: augment.partial().optional(),
  head: head.partial().optional(),
  objective: objective.partial().optional(),
  optim: optim.partial().optional(),
  schedule: schedule.partial().optional(),
  train: train.partial().optional(),
  data: data.partial().optional(),
  checkpoint: checkpoint.partial().optional(),
  log: log.partial().optional(),
  knn: knn.partial().optional(),
}) satisfies z.ZodType<UserConfig>;

const LEAVES: ReadonlyMap<string, z.ZodType> = new Map<string, z.ZodType>([
  ["seed", seed],
  ["method", method],
  ...Object.entries(SECTIONS).flatMap(([name, section]) =>
    Object.entries<z.ZodType>(section.shape).map(([key, leaf]): [string, z.ZodType] => [`${name}.${key}`, leaf]),
  ),
]);

/** Every dotted key path there is, in order. */
export const CONFIG_KEYS: readonly string[] = [...LEAVES.keys()];

/** What to say about a key that does not exist: the nearest path, or the path that ends in this name. */
function keyHint(path: string): string {
  const last = path.split(".").at(-1) ?? path;
  const sameEnd = CONFIG_KEYS.filter((key) => key.split(".").at(-1)?.toLowerCase() === last.toLowerCase());
  if (sameEnd.length > 0) return `did you mean ${sameEnd.map((key) => `"${key}"`).join(" or ")}?`;
  const section = path.split(".")[0] ?? "";
  if (path.includes(".") && section in SECTIONS && nearestName(path, CONFIG_KEYS) === undefined)
    return `"${section}" has ${CONFIG_KEYS.filter((key) => key.startsWith(`${section}.`)).join(", ")}`;
  return nameHint(path, [...CONFIG_KEYS, ...Object.keys(SECTIONS)]);
}

/** The error of a key that does not exist. */
export function unknownKey(path: string, source: string): ConfigError {
  if (path in SECTIONS)
    return new ConfigError(
      `Cannot use config key "${path}" of ${source}: it is a section; set one of ${CONFIG_KEYS.filter((key) => key.startsWith(`${path}.`)).join(", ")}`,
      { keyPath: path },
    );
  return new ConfigError(`Cannot use config key "${path}" of ${source}: there is no such key; ${keyHint(path)}`, { keyPath: path });
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const json = typeof value === "number" ? String(value) : (JSON.stringify(value) ?? typeof value);
  const kind = typeof value === "string" ? " (text)" : "";
  return `${json.length > 60 ? `${json.slice(0, 57)}...` : json}${kind}`;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let at: unknown = root;
  // each step is checked to be an object before its keys are read
  for (const key of path) at = typeof at === "object" && at !== null ? (at as Readonly<Record<PropertyKey, unknown>>)[key] : undefined;
  return at;
}

/** The key path a person can write: list items are named by their list, which is what one sets. */
function leafPath(path: readonly PropertyKey[]): string {
  return path.filter((key) => typeof key === "string").join(".");
}

function toConfigError(error: z.ZodError, options: { readonly root: unknown; readonly source: string }): ConfigError {
  const { root, source } = options;
  const issue = error.issues[0];
  if (issue === undefined) throw new InternalError("Cannot explain a configuration error: zod gives no issue; report this");
  if (issue.code === "unrecognized_keys") return unknownKey([...issue.path, issue.keys[0] ?? ""].join("."), source);
  const keyPath = leafPath(issue.path);
  const wanted = LEAVES.has(keyPath) ? issue.message : "an object of keys and values";
  const what = keyPath === "" ? `the config of ${source}` : `config key "${keyPath}" of ${source}`;
  return new ConfigError(`Cannot use ${what}: got ${show(valueAt(root, issue.path))}, wanted ${wanted}; change the value`, { keyPath });
}

/**
 * Checks what a user wrote: any part of the configuration. Throws ConfigError with the key path, what was found and what was wanted;
 * for a key that does not exist, the nearest one.
 */
export function parseUserConfig(value: unknown, source = "the configuration"): UserConfig {
  const parsed = userSchema.safeParse(value);
  if (!parsed.success) throw toConfigError(parsed.error, { root: value, source });
  return parsed.data;
}

/** Checks a whole configuration, as `config.json` of a run holds it. */
export function parseTrainConfig(value: unknown, source = "the configuration"): TrainConfig {
  const parsed = fullSchema.safeParse(value);
  if (!parsed.success) throw toConfigError(parsed.error, { root: value, source });
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
