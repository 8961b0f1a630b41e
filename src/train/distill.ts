/** @file `distill()`: one frozen teacher, any number of students, one run. DINOv3 §5. */
import { ConfigError } from "../core/index.ts";
import { listData } from "../data/index.ts";
import {
  mergeConfigs,
  type MethodName,
  type ModelConfig,
  parseUserConfig,
  resolveConfig,
  type RunFacts,
  type StudentModel,
  type UserConfig,
} from "./config/index.ts";
import { channelsOf, factsOfBeginning, resolveBeginning, settleBeginning } from "./loop/beginning.ts";
import { inheritedOf } from "./loop/frozen-teacher.ts";
import { openTeacher } from "./loop/teacher-kind.ts";
import { train, type TrainOptions, type TrainResult } from "./train.ts";

export interface DistillOptions extends Omit<TrainOptions, "replay"> {
  /**
   * What is frozen and teaches: a run with heads, whose last teacher's prototypes students learn to name; or a run without, a Hugging Face or
   * timm folder, an id in the cache, or a file of weights, whose features students learn. `distill.objective` says which where both can be.
   */
  readonly teacher: string;
  /** Presets of the students, each a network of its own. */
  readonly models: readonly string[];
}

/**
 * Trains every student to name images and patches as the teacher does, or to give them the teacher's features: one pass of the teacher serves
 * them all. Crops (and masks and heads, where there are any) are the teacher's; `config` may change the rest. Throws ConfigError, and
 * FormatError for weights that cannot be read.
 */
export async function distill({ teacher: from, models, config = {}, ...options }: DistillOptions): Promise<TrainResult> {
  const said = parseUserConfig(config);
  const teacher = await openTeacher(from, said.distill?.objective);
  const user = teacher.objective === "prototypes" ? mergeConfigs(inheritedOf(teacher.parent), said) : said;
  const students = await settleStudents(models, mergeConfigs(user, { distill: { teacher: from } }));
  return await train({ ...options, config: mergeConfigs(user, { distill: { teacher: from, students } }) });
}

/** Each student's network: its preset with the ingredients of the teacher's method, its positions those of the global crops. */
async function settleStudents(models: readonly string[], user: UserConfig): Promise<readonly StudentModel[]> {
  if (models.length === 0)
    throw new ConfigError('Cannot distill: there are no students; give one or more by --model, such as "vit_tiny_patch16"', {
      keyPath: "distill.students",
    });
  const beginning = await settleBeginning(user);
  const facts = await factsOfBeginning(await listData(user.data?.path ?? ""), beginning);
  const method = user.method ?? beginning.teacher?.method ?? "dino";
  const asked = { method, channels: channelsOf(beginning) };
  const at = (globalSizePx: number | undefined): readonly StudentModel[] =>
    models.map((arch, i) => {
      const again = models.slice(0, i).filter((other) => other === arch).length;
      return { name: again === 0 ? arch : `${arch}-${again + 1}`, model: networkOf(arch, { ...asked, facts, globalSizePx }) };
    });
  const given = user.crops?.globalSizePx;
  if (given !== undefined) return at(given);
  // crops are whole patches of teacher and students, so that the networks come first, and their positions after
  const whole = mergeConfigs(user, { distill: { students: at(undefined) } });
  return at(resolveBeginning({ ...beginning, user: whole }, facts).config.crops.globalSizePx);
}

interface Asked {
  readonly method: MethodName;
  readonly channels: number;
  readonly facts: RunFacts;
  readonly globalSizePx: number | undefined;
}

function networkOf(arch: string, { method, channels, facts, globalSizePx }: Asked): ModelConfig {
  const each = (value: number): number[] => Array<number>(channels).fill(value);
  const user: UserConfig = {
    method,
    model: { arch, dropPath: 0, channels },
    augment: { mean: each(0), std: each(1) }, // decide no network
    crops: { globalSizePx },
  };
  return resolveConfig(user, facts).config.model;
}
