/** @file What a run begins with: random weights, given ones, or the end of an earlier run; and its configuration, which follows from that. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { DataList } from "../../data/index.ts";
import { readBackbone, resolveModelPath } from "../../weights/index.ts";
import {
  intendedChannels,
  mergeConfigs,
  type ModelConfig,
  type ResolvedConfig,
  resolveConfig,
  type RunFacts,
  type TeacherFacts,
  type UserConfig,
} from "../config/index.ts";
import { chooseGramTeacher, type GramChoice } from "./gram-teacher.ts";
import { watchedConfig } from "./networks.ts";
import { modelOf } from "./model-of.ts";
import { findParent, needParent, type Parent } from "./parent.ts";
import { gatherFacts, measureBands } from "./prepare.ts";
import { factsOfTeacher, openTeacher } from "./teacher-kind.ts";

export interface Beginning {
  /** What weights that are no run of ours say of their network. */
  readonly initModel?: Partial<ModelConfig> | undefined;
  /** The frozen teacher of a distillation. */
  readonly teacher?: TeacherFacts | undefined;
  /** What the user said, and what follows from the run that is gone on from. */
  readonly user: UserConfig;
  readonly parent: Parent | undefined;
  readonly gram: GramChoice | undefined;
}

/** Looks at the weights to begin with. A later stage goes on from a run: its images are the run's unless others are given. Throws ConfigError. */
export async function settleBeginning(user: UserConfig): Promise<Beginning> {
  const { stage = "pretrain", init, data } = user;
  const from = init?.from ?? undefined;
  const parent = stage === "pretrain" ? (from === undefined ? undefined : await findParent(from)) : await needParent(from, stage);
  const path = data?.path ?? (stage === "pretrain" ? undefined : parent?.config.data.path);
  const asked = path === undefined ? user : mergeConfigs(user, { data: { path } });
  const taught = await teacherOf(user);
  const initModel = taught?.model ?? (parent === undefined ? await foreignModel(from) : undefined);
  return { user: asked, parent, gram: await gramTeacherOf(asked, parent), initModel, teacher: taught?.teacher };
}

/** What weights that are no run of ours say of their network. */
async function foreignModel(from: string | undefined): Promise<Partial<ModelConfig> | undefined> {
  return from === undefined ? undefined : modelOf((await readBackbone((await resolveModelPath(from)) ?? from)).config);
}

/** What is known of the frozen teacher of a distillation. */
async function teacherOf({ distill }: UserConfig): Promise<ReturnType<typeof factsOfTeacher> | undefined> {
  const from = distill?.teacher ?? undefined;
  return from === undefined ? undefined : factsOfTeacher(await openTeacher(from, distill?.objective));
}

/** The Gram teacher of a later stage, where the user named none: the one of the stage before, or one of the run's early teachers. */
async function gramTeacherOf({ stage = "pretrain", gram }: UserConfig, parent: Parent | undefined): Promise<GramChoice | undefined> {
  if (stage === "pretrain" || parent === undefined || gram?.useEma === true || (gram?.teacher ?? undefined) !== undefined) return undefined;
  const kept = join(parent.last.dir, "gram.safetensors");
  if (await stat(kept).catch(() => undefined))
    return { path: kept, reason: `the Gram teacher of the stage before, as it was after step ${parent.last.state.step}` };
  return await chooseGramTeacher(parent);
}

/** Channels of the run's pictures. */
export function channelsOf({ user, parent, initModel }: Beginning): number {
  return intendedChannels({
    user,
    ...(parent === undefined ? {} : { parent: watchedConfig(parent.config) }),
    ...(initModel === undefined ? {} : { initModel }),
  });
}

/** What is known of the images of a run, bands measured where it has them. */
export async function factsOfBeginning(list: DataList, beginning: Beginning): Promise<RunFacts> {
  const { user, teacher } = beginning;
  const facts = await gatherFacts(list);
  // pictures of a teacher by features are normalised as it was taught
  return teacher?.mean === undefined ? { ...facts, ...(await measureBands(list, { user, channels: channelsOf(beginning) })) } : facts;
}

/** The whole configuration. */
export function resolveBeginning({ user, parent, gram, initModel, teacher }: Beginning, facts: RunFacts): ResolvedConfig {
  // of a distillation its first student goes on
  const ofParent = parent === undefined ? {} : { parent: watchedConfig(parent.config), parentSteps: parent.last.state.step };
  const resolved = resolveConfig(user, {
    ...facts,
    ...ofParent,
    ...(initModel === undefined ? {} : { initModel }),
    ...(teacher === undefined ? {} : { teacher }),
  });
  if (gram === undefined || resolved.config.objective.gramWeight === 0 || resolved.config.gram.useEma) return resolved;
  return {
    ...resolved,
    config: { ...resolved.config, gram: { ...resolved.config.gram, teacher: gram.path } },
    reasons: { ...resolved.reasons, "gram.teacher": gram.reason },
  };
}
