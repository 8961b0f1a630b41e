/** @file Stages after the first: whether there is a run to go on from, and whether the network is still the same. */
import { isDeepStrictEqual } from "node:util";
import { ConfigError } from "../../core/index.ts";
import { parseArch } from "./arch.ts";
import type { HeadConfig, ModelConfig, RunFacts, TopName, TrainConfig, UserConfig } from "./types.ts";

/** Throws ConfigError for a stage that the method does not have, or that has nothing to go on from. */
export function checkStage(
  { method, stage }: Pick<TrainConfig, TopName>,
  { user, facts }: { readonly user: UserConfig; readonly facts: RunFacts },
): void {
  if (stage === "pretrain") return;
  if (method !== "dinov3")
    throw new ConfigError(
      `Cannot use stage "${stage}" with method "${method}": only DINOv3 has it; set method to "dinov3", or leave stage out`,
      { keyPath: "stage" },
    );
  const { parent } = facts;
  if (parent === undefined && (user.init?.from ?? null) === null)
    throw new ConfigError(`Cannot start stage "${stage}": there is no run to go on from; name a run of DINOv3 by --init (init.from)`, {
      keyPath: "init.from",
    });
  if (parent !== undefined && parent.method !== "dinov3")
    throw new ConfigError(
      `Cannot start stage "${stage}": the run to go on from was trained by method "${parent.method}"; name a run of DINOv3 by --init (init.from)`,
      { keyPath: "init.from" },
    );
  const [arch, before] = [user.model?.arch, parent?.model.arch];
  if (arch !== undefined && before !== undefined && arch !== before && !isDeepStrictEqual(ownName(arch), ownName(before)))
    throw new ConfigError(
      `Cannot start stage "${stage}" with the network "${arch}": the run it goes on from has "${before}"; leave --model (model.arch) out`,
      { keyPath: "model.arch" },
    );
}

/** What a preset stands for, whatever it is called. */
function ownName(arch: string): unknown {
  return { ...parseArch(arch), name: "" };
}

/** Keys that change no tensor of a network. */
const FREE_MODEL_KEYS: ReadonlySet<string> = new Set<keyof ModelConfig>([
  "arch",
  "dropPath",
  "dropPathKind",
  "dropPathUniform",
  "posInterpolation",
  "posEmbedInit",
  "ropeShift",
  "ropeJitter",
  "ropeRescale",
]);
const FREE_HEAD_KEYS: ReadonlySet<string> = new Set<keyof HeadConfig>(["normLastLayer"]);

/** Throws ConfigError for a later stage with another network or other heads than the run that it goes on from. */
export function checkSameNetwork(config: TrainConfig, parent: TrainConfig): void {
  for (const [section, free] of [
    ["model", FREE_MODEL_KEYS],
    ["head", FREE_HEAD_KEYS],
  ] as const)
    for (const [key, before] of Object.entries(parent[section])) {
      const now: unknown = Object.entries(config[section]).find(([name]) => name === key)?.[1];
      if (free.has(key) || isDeepStrictEqual(now, before)) continue;
      throw new ConfigError(
        `Cannot use ${section}.${key} ${JSON.stringify(now)} in stage "${config.stage}": the run it goes on from has ${JSON.stringify(before)}, and its weights and Gram teacher do not fit; leave ${section}.${key} out`,
        { keyPath: `${section}.${key}` },
      );
    }
}
