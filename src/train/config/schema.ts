/** @file The edge of the configuration: what a file, the command line or an older run says is checked here, key by key, and trusted after. */
import { z } from "zod";
import { ConfigError } from "../../core/index.ts";
import { show, toConfigError, unknownKey as unknownKeyIn } from "./schema-errors.ts";
import { distill, gram, init, objective, optim, schedule } from "./schema-learning.ts";
import { augment, crops, head, mask, model } from "./schema-networks.ts";
import { checkpoint, data, dense, knn, log, train } from "./schema-run.ts";
import { choice, wants } from "./schema-values.ts";
import type { TrainConfig, UserConfig } from "./types.ts";
import { withLaterKeys } from "./upgrade.ts";

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
