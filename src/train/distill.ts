/** @file `distill()`: one frozen teacher, any number of students, one run. DINOv3 §5. */
import { ConfigError } from "../core/index.ts";
import { listData } from "../data/index.ts";
import { mergeConfigs, parseUserConfig, resolveConfig, type StudentModel, type UserConfig } from "./config/index.ts";
import { inheritedOf, needTeacher } from "./loop/frozen-teacher.ts";
import type { Parent } from "./loop/parent.ts";
import { gatherFacts } from "./loop/prepare.ts";
import { train, type TrainOptions, type TrainResult } from "./train.ts";

export interface DistillOptions extends Omit<TrainOptions, "replay"> {
  /** The run whose last teacher is frozen and teaches. */
  readonly teacher: string;
  /** Presets of the students, each a network of its own. */
  readonly models: readonly string[];
}

/**
 * Trains every student to name images and patches as the teacher does: one pass of the teacher serves them all. Crops, masks and heads are
 * the teacher's; `config` may change the rest. Throws ConfigError.
 */
export async function distill({ teacher, models, config = {}, ...options }: DistillOptions): Promise<TrainResult> {
  const user = parseUserConfig(config);
  const parent = await needTeacher(teacher);
  const students = await settleStudents(models, { user, parent });
  return await train({ ...options, config: mergeConfigs(inheritedOf(parent), user, { distill: { teacher, students } }) });
}

/** Each student's network: its preset with the ingredients of the teacher's method. */
async function settleStudents(
  models: readonly string[],
  { user, parent }: { readonly user: UserConfig; readonly parent: Parent },
): Promise<readonly StudentModel[]> {
  if (models.length === 0)
    throw new ConfigError('Cannot distill: there are no students; give one or more by --model, such as "vit_tiny_patch16"', {
      keyPath: "distill.students",
    });
  const facts = await gatherFacts(await listData(user.data?.path ?? ""));
  const { method, crops, augment, model: taught } = parent.config;
  const { channels } = taught;
  const { mean, std } = augment; // nothing else of it decides a network
  return models.map((arch, i) => {
    const { model } = resolveConfig(
      { method, model: { arch, dropPath: 0, channels }, augment: { mean, std }, crops: { ...crops, sizes: [] } },
      facts,
    ).config;
    const again = models.slice(0, i).filter((other) => other === arch).length;
    return { name: again === 0 ? arch : `${arch}-${again + 1}`, model };
  });
}
