/**
 * @file Distillation from a teacher without heads, such as released weights: students are held to its features.
 *
 *   teacher   one pass for all students, on the two global crops: unit class and patch tokens
 *   student   loss = w_cls · (globals + λ · locals) + w_patch · patches, each a mean of 1 − cos to the teacher's tokens:
 *             class tokens of global crops and the teacher's of the same crop; of local crops and the teacher's of both global ones;
 *             patch tokens of global crops, on the teacher's grid
 *
 * A student's tokens reach the teacher's width by a linear layer each for class and patch tokens. A layer and not an MLP: it is thrown away
 * after training, and what it could not read out of a student's features neither can k-NN or a linear probe. The recipe is ours; cosines of
 * summary and patch features to a frozen teacher are AM-RADIO's (arXiv 2312.06709 §3), local against global crops DINO's multi-crop (§3.1).
 */
import { l2Normalize, mul, reduceMean, reshape, type Tensor } from "../engine/trace/index.ts";
import { backboneWidth, type Grid, gridSideOf, linear, linearSpecs, scoped } from "../nn/index.ts";
import { featureCosineLoss, resizeFeatures } from "../objectives/index.ts";
import type { StepConfig } from "./config.ts";
import { TEACHER_CROPS } from "./crop-groups.ts";
import { distillation, type Pupil } from "./distillation.ts";
import { crops, type Method } from "./method.ts";
import { type Group, type Network, NOTHING, type Objective, type Term } from "./objective.ts";

/** A student's own part; crops and batch are the teacher's. */
export type FeatureStudentConfig = Pick<StepConfig, "backbone" | "dropPath"> & { readonly name: string };

export interface FeatureObjectiveConfig {
  /** Weight of the class tokens; 0 = none. */
  readonly clsWeight: number;
  /** Weight of the patch tokens; 0 = none. */
  readonly patchWeight: number;
}

export interface DistillFeaturesConfig {
  /** The teacher's network, and what all share. The scalar input `localWeight` weighs local crops. */
  readonly teacher: StepConfig;
  readonly students: readonly [FeatureStudentConfig, ...FeatureStudentConfig[]];
  readonly objective: FeatureObjectiveConfig;
}

const CLS = "cls_projection";
const PATCH = "patch_projection";

/** Whether a parameter is of a student's way to its teacher's width, which serves nothing else. */
export function isProjection(name: string): boolean {
  return name.startsWith(`${CLS}.`) || name.startsWith(`${PATCH}.`);
}

/** Distillation by features as a method: learners are the students, in order. */
export function distillFeatures({ teacher, students, objective }: DistillFeaturesConfig): Method {
  const pupils = students.map(({ name, backbone, dropPath }): Pupil => {
    const config: StepConfig = { ...teacher, backbone, dropPath, drawPrefix: `${name}.` };
    return { name, config, objectives: [studentObjective(config, { ...objective, teacher })] };
  });
  return distillation("distill-features", { teacher, objectives: [teacherObjective(teacher, objective)], pupils });
}

/** Gives out the teacher's unit tokens: `clsTargets` `[2, b, d]`, `patchTargets` `[2·b, p, d]`. */
function teacherObjective(config: StepConfig, { patchWeight }: FeatureObjectiveConfig): Objective {
  const width = backboneWidth(config.backbone);
  return {
    ...NOTHING,
    name: "features",
    wantsPatches: patchWeight > 0,
    cuts: [["clsTargets", crops(TEACHER_CROPS)], ...(patchWeight > 0 ? [["patchTargets", crops(TEACHER_CROPS)] as const] : [])],
    teacher({ cls, patches }, { builder, b }) {
      builder.output("clsTargets", l2Normalize(reshape(cls, [TEACHER_CROPS, b, width])));
      if (patches !== undefined) builder.output("patchTargets", l2Normalize(patches));
    },
    student: () => [],
  };
}

type StudentObjective = FeatureObjectiveConfig & { readonly teacher: StepConfig };

/** The cosines of one student. */
function studentObjective(config: StepConfig, { teacher, clsWeight, patchWeight }: StudentObjective): Objective {
  const [from, to] = [backboneWidth(config.backbone), backboneWidth(teacher.backbone)];
  const { batchSize } = config;
  const project = (name: string, rows: Tensor, { params }: Network): Tensor => linear(scoped(params, `${name}.`), rows);

  const clsTerm = (group: Group, network: Network): Term[] => {
    if (clsWeight === 0) return [];
    const { builder, b } = network;
    const targets = builder.sharedInput("clsTargets", [TEACHER_CROPS, b, to]);
    const own = reshape(project(CLS, group.cls, network), [group.count, b, to]);
    // a local crop meets both global ones: the mean of unit targets gives the mean of their cosines
    const loss = featureCosineLoss(own, group.isGlobal ? targets : reduceMean(targets, [0], true));
    // the mean over the whole batch is the sum of its micro-batches' shares
    const value = mul(loss, b / batchSize);
    if (group.isGlobal) return [{ name: "cls", value, weight: clsWeight }];
    return [{ name: "locals", value, weight: mul(builder.sharedInput("localWeight", []), clsWeight) }];
  };

  const patchTerm = ({ count, isGlobal, patches }: Group, network: Network): Term[] => {
    if (patchWeight === 0 || !isGlobal || patches === undefined) return [];
    const { builder, b } = network;
    const grids = { from: gridOf(config), to: gridOf(teacher) };
    const own = onTeachersGrid(patches, { ...grids, project: (rows) => project(PATCH, rows, network), width: to });
    const targets = builder.input("patchTargets", [count * b, grids.to.rows * grids.to.columns, to]);
    return [{ name: "patches", value: mul(featureCosineLoss(own, targets), b / batchSize), weight: patchWeight }];
  };

  return {
    ...NOTHING,
    name: "features",
    specs: [
      ...(clsWeight > 0 ? linearSpecs(CLS, { in: from, out: to }) : []),
      ...(patchWeight > 0 ? linearSpecs(PATCH, { in: from, out: to }) : []),
    ],
    wantsPatches: patchWeight > 0,
    student: (groups, network) => groups.flatMap((group) => [...clsTerm(group, network), ...patchTerm(group, network)]),
  };
}

/** The grid of a network's patches of a global crop. */
function gridOf({ backbone, crops: { globalSizePx } }: StepConfig): Grid {
  const side = gridSideOf(backbone, globalSizePx);
  return { rows: side, columns: side };
}

interface ToTeacher {
  readonly from: Grid;
  readonly to: Grid;
  readonly project: (rows: Tensor) => Tensor;
  /** Numbers of a projected token. */
  readonly width: number;
}

/** Patches `[n, p, d]` -> `[n, p', width]`: projected and brought to the teacher's grid. Both are linear; the one that leaves less work comes first. */
function onTeachersGrid(patches: Tensor, { from, to, project, width }: ToTeacher): Tensor {
  const [n = 1, , d = 1] = patches.shape;
  const projected = (map: Tensor): Tensor => {
    const tokens = map.shape[1] ?? 1;
    return reshape(project(reshape(map, [n * tokens, d])), [n, tokens, width]);
  };
  const resized = (map: Tensor): Tensor => resizeFeatures(map, { from, to, kernel: "bilinear" });
  return to.rows > from.rows ? resized(projected(patches)) : projected(resized(patches));
}
