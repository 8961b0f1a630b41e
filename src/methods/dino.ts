/**
 * @file DINO: self-distillation with no labels (Caron et al. 2021), as three traced parts of one step.
 *
 *   teacher   logits t = head(vit(global crops)) of the averaged network
 *   targets   q = softmax((t − c)/τ), or Sinkhorn–Knopp of t/τ, over the whole batch
 *   student   loss = Σ cross-entropy(q, head(vit(crop))) over every pair but a crop with itself, and its gradients
 *
 * The optimizer then moves the student and the teacher follows it by an exponential moving average.
 */
import type { Graph } from "../engine/ir/index.ts";
import { argMax, Builder, mul, reshape, slice, type Tensor } from "../engine/trace/index.ts";
import { applyDinoHead, applyViT, scoped, traceParams } from "../nn/index.ts";
import { dinoLoss, koleoPerCrop } from "../objectives/index.ts";
import type { StepConfig, TargetConfig } from "./config.ts";
import { TEACHER_CROPS } from "./crop-groups.ts";
import { drawDropPath, dropPathCuts } from "./drop-path.ts";
import { crops, type Method } from "./method.ts";
import { bothHeadStates, headState, networkSpecs, selfDistilling } from "./networks.ts";
import { StateThread } from "./state-thread.ts";
import { type Group, type Term, traceStudent } from "./student.ts";
import { centerState, entropy, teacherEntropy, traceTargets } from "./targets.ts";

export interface DinoConfig extends StepConfig {
  readonly objective: TargetConfig & {
    readonly koleoWeight: number;
    readonly studentTemp: number;
  };
}

/** DINO as a method. */
export function dino(config: DinoConfig): Method {
  const { batchSize, microBatchSize, head, objective } = config;
  const learner = selfDistilling(config);
  return {
    name: "dino",
    batchSize,
    microBatchSize,
    learners: [learner],
    fixed: [],
    state: [...centerState("center", head.prototypes, objective), ...bothHeadStates(config)],
    parts: [
      { name: "teacher", per: "micro", trace: () => teacherPart(config) },
      { name: "targets", per: "batch", trace: () => targetsPart(config) },
      {
        name: "student",
        per: "micro",
        learner: learner.name,
        trace: ({ running }) => traceStudent(config, { learner, running, terms: studentTerms(config) }),
      },
    ],
    cuts: new Map([
      ["globals", crops(TEACHER_CROPS)],
      ["locals", crops(config.crops.localCount)],
      ["logits", crops(TEACHER_CROPS)],
      ["targets", crops(TEACHER_CROPS)],
      ...dropPathCuts(config),
    ]),
    draw: (options) => drawDropPath(config, options),
  };
}

/** The teacher's logits `[2, b, k]` and class tokens `[2·b, d]` for one micro-batch of global crops. */
function teacherPart(config: DinoConfig): Graph {
  const { vit, head, microBatchSize: b } = config;
  const size = config.crops.globalSizePx;
  const builder = new Builder();
  const params = traceParams(builder, networkSpecs(config), { prefix: "teacher." });
  const state = new StateThread(builder, headState(config), { prefix: "teacher." });
  const globals = builder.input("globals", [TEACHER_CROPS * b, 3, size, size]);
  const features = builder.inRegion("teacher", () => applyViT(scoped(params, "backbone."), globals, { config: vit, output: "cls" }));
  const logits = builder.inRegion("teacher/head", () =>
    applyDinoHead(scoped(params, "dino_head."), features, { config: head, ...state.options("dino_head.") }),
  );
  builder.output("features", features);
  builder.output("logits", reshape(logits, [TEACHER_CROPS, b, head.prototypes]));
  state.finish();
  return builder.graph();
}

/** Targets `[2, b, k]` of the whole batch from the teacher's logits, the next centre, and what monitors watch. */
function targetsPart({ head, objective, batchSize: b }: DinoConfig): Graph {
  const builder = new Builder();
  const logits = reshape(builder.input("logits", [TEACHER_CROPS, b, head.prototypes]), [TEACHER_CROPS * b, head.prototypes]);
  const temp = builder.input("teacherTemp", []);
  builder.inRegion("targets", () => {
    const q = traceTargets(builder, logits, { name: "center", temp, config: objective });
    builder.output("targets", reshape(q, [TEACHER_CROPS, b, head.prototypes]));
    builder.output("teacherEntropy", teacherEntropy(logits, temp));
    builder.output("targetEntropy", entropy(q));
    builder.output("prototype", argMax(q, 1));
  });
  return builder.graph();
}

/** DINO's cross-entropy on every group, KoLeo on the globals where it is asked for; targets `[2, b, k]` come in. */
function studentTerms(config: DinoConfig): (group: Group, builder: Builder) => readonly Term[] {
  let targets: Tensor | undefined;
  return (group, builder) => {
    targets = targets?.builder === builder ? targets : builder.input("targets", [TEACHER_CROPS, group.b, config.head.prototypes]);
    return [dinoTerm(config, group, targets), ...koleoTerm(config, group)];
  };
}

/** A group's share of DINO's loss; the mean over the whole batch is the sum of its micro-batches' shares. */
export function dinoTerm(config: DinoConfig, group: Group, targets: Tensor): Term {
  const loss = dinoLoss(group.logits, targets, {
    studentTemp: config.objective.studentTemp,
    skipDiagonal: group.isGlobal,
    pairs: TEACHER_CROPS * (TEACHER_CROPS + config.crops.localCount - 1),
  });
  return { name: group.name, value: mul(loss, group.b / config.batchSize) };
}

/** KoLeo on the student's class tokens before the head, over each global crop. DINOv2 spec §2.5. */
export function koleoTerm({ objective, batchSize, groupSize }: DinoConfig, { isGlobal, count, cls, b }: Group): readonly Term[] {
  if (!isGlobal || objective.koleoWeight === 0) return [];
  const byCrop = Array.from({ length: count }, (_, v) => slice(cls, 0, [v * b, (v + 1) * b]));
  const spread = koleoPerCrop(byCrop, { groupSize: groupSize ?? b });
  return [{ name: "koleo", value: mul(spread, b / batchSize), weight: objective.koleoWeight }];
}
