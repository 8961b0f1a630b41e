/**
 * @file DINO: self-distillation with no labels (Caron et al. 2021).
 *
 *   teacher   logits t = head(vit(global crops)) of the averaged network
 *   targets   q = softmax((t − c)/τ), or Sinkhorn–Knopp of t/τ, over the whole batch
 *   student   loss = Σ cross-entropy(q, head(vit(crop))) over every pair but a crop with itself
 */
import { argMax, concat, mul, reshape, slice, type Tensor } from "../engine/trace/index.ts";
import { applyDinoHead, dinoHeadSpecs, dinoHeadState, prefixed, scoped } from "../nn/index.ts";
import { dinoLoss } from "../objectives/index.ts";
import type { HeadedConfig, TargetConfig } from "./config.ts";
import { TEACHER_CROPS } from "./crop-groups.ts";
import { type KoleoConfig, koleoObjective } from "./koleo.ts";
import { crops, type Method } from "./method.ts";
import { type Network, NOTHING, type Objective } from "./objective.ts";
import { selfDistillation } from "./self-distillation.ts";
import { centerState, makeTargets } from "./teacher-targets.ts";

export interface DinoConfig extends HeadedConfig {
  readonly objective: TargetConfig &
    KoleoConfig & {
      readonly studentTemp: number;
      /** Scalar input that weighs the loss on local crops (DINOv3); 1 where there is none. */
      readonly localWeight?: string;
    };
}

/** DINO as a method. */
export function dino(config: DinoConfig): Method {
  return selfDistillation("dino", config, [dinoObjective(config), ...koleoObjective(config)]);
}

const HEAD = "dino_head.";

/** Cross-entropy of every student crop against the teacher's global crops. DINO §3.1, eq. 3. */
export function dinoObjective(config: DinoConfig): Objective {
  const { head, objective, batchSize, microBatchSize: micro } = config;
  const k = head.prototypes;

  /** Class tokens `[rows, d]` -> logits `[rows, k]` over the temperature. */
  const applyHead = (cls: Tensor, { params, state }: Network, temperature = 1): Tensor =>
    applyDinoHead(scoped(params, HEAD), cls, { config: head, temperature, ...state.options(HEAD) });

  return {
    ...NOTHING,
    name: "dino",
    specs: prefixed(dinoHeadSpecs(head), HEAD),
    headState: prefixed(dinoHeadState(head), HEAD),
    state: centerState("center", k, objective),
    joinsGroups: head.batchNorm,
    cuts: [
      ["logits", crops(TEACHER_CROPS)],
      ["targets", crops(TEACHER_CROPS)],
    ],

    teacher(globals, network) {
      network.builder.output("logits", reshape(applyHead(globals.cls, network), [TEACHER_CROPS, micro, k]));
    },

    targets(builder, temp) {
      const logits = reshape(builder.input("logits", [TEACHER_CROPS, batchSize, k]), [TEACHER_CROPS * batchSize, k]);
      const { q, entropy, teacherEntropy } = makeTargets(builder, logits, { name: "center", temp, config: objective });
      builder.output("targets", reshape(q, [TEACHER_CROPS, batchSize, k]));
      builder.output("teacherEntropy", teacherEntropy);
      builder.output("targetEntropy", entropy);
      builder.output("prototype", argMax(q, 1));
    },

    student(groups, network) {
      const { builder, b } = network;
      const targets = builder.sharedInput("targets", [TEACHER_CROPS, b, k]);
      const [first, ...others] = groups.map(({ cls }) => cls);
      const logits = first === undefined ? targets : applyHead(concat([first, ...others], 0), network, objective.studentTemp);
      let row = 0;
      return groups.map((group) => {
        const own = slice(logits, 0, [row, row + group.count * b]);
        row += group.count * b;
        const loss = dinoLoss(reshape(own, [group.count, b, k]), targets, {
          studentTemp: 1, // the head has divided by it
          skipDiagonal: group.isGlobal,
          pairs: TEACHER_CROPS * (TEACHER_CROPS + config.crops.localCount - 1),
        });
        // the mean over the whole batch is the sum of its micro-batches' shares
        const term = { name: group.name, value: mul(loss, b / batchSize) };
        const weight = group.isGlobal ? undefined : objective.localWeight;
        return weight === undefined ? term : { ...term, weight: builder.sharedInput(weight, []) };
      });
    },
  };
}
