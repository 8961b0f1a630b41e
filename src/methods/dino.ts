/**
 * @file DINO: self-distillation with no labels (Caron et al. 2021), as three traced parts of one step.
 *
 *   teacher   logits t = head(vit(global crops)) of the averaged network
 *   targets   q = softmax((t − c)/τ), or Sinkhorn–Knopp of t/τ, over the whole batch
 *   student   loss = Σ cross-entropy(q, head(vit(crop))) over every pair but a crop with itself, and its gradients
 *
 * The optimizer then moves the student and the teacher follows it by an exponential moving average.
 */
import { gradients } from "../engine/grad/index.ts";
import type { Graph } from "../engine/ir/index.ts";
import {
  add,
  argMax,
  Builder,
  concat,
  log,
  mul,
  neg,
  reduceMean,
  reduceSum,
  reshape,
  slice,
  softmax,
  div,
  type Tensor,
} from "../engine/trace/index.ts";
import {
  applyDinoHead,
  applyViT,
  type DinoHeadConfig,
  dinoHeadSpecs,
  dinoHeadState,
  type Params,
  type ParamSpec,
  prefixed,
  scoped,
  traceParams,
  type ViTConfig,
  vitSpecs,
} from "../nn/index.ts";
import { centeredTargets, dinoLoss, koleoPerCrop, nextCenter, sinkhornTargets } from "../objectives/index.ts";
import { type CropGroup, cropGroups, TEACHER_CROPS } from "./crop-groups.ts";
import { dropPathInputs } from "./drop-path.ts";

export interface DinoConfig {
  readonly vit: ViTConfig;
  readonly head: DinoHeadConfig & { readonly normLastLayer: boolean };
  readonly crops: {
    readonly globalSizePx: number;
    readonly localSizePx: number;
    readonly localCount: number;
  };
  readonly objective: {
    readonly centering: "ema" | "sinkhorn";
    readonly centerMomentum: number;
    readonly sinkhornIterations: number;
    readonly koleoWeight: number;
    readonly studentTemp: number;
  };
  /** Largest rate of stochastic depth; block i drops with rate · i/(depth − 1). Student only. */
  readonly dropPath: number;
  /** Images of a batch and of the part of it that the student sees at once. */
  readonly batchSize: number;
  readonly microBatchSize: number;
  /** KoLeo looks for neighbours inside groups of this many images; the micro-batch by default. */
  readonly groupSize?: number;
}

/** Parameters of the student, and of the teacher, by name. */
export function dinoSpecs({ vit, head }: DinoConfig): ParamSpec[] {
  return [...prefixed(vitSpecs(vit), "backbone."), ...prefixed(dinoHeadSpecs(head), "dino_head.")];
}

/** What is read and written each step but not trained: the centre, and running statistics of batch norm. */
export function dinoState({ head, objective }: DinoConfig): ParamSpec[] {
  const center: ParamSpec[] =
    objective.centering === "ema" ? [{ name: "center", shape: [1, head.prototypes], init: { kind: "zeros" } }] : [];
  return [...center, ...["student.", "teacher."].flatMap((who) => prefixed(dinoHeadState(head), `${who}dino_head.`))];
}

/** Parameters that never get a gradient. */
export function isFrozen({ head }: DinoConfig): (name: string) => boolean {
  return (name) => head.normLastLayer && name.endsWith("last_layer.weight_g");
}

/** Batch-norm state of one network's head as inputs, and the outputs that replace it. */
function traceHeadState(
  builder: Builder,
  config: DinoConfig,
  who: "student" | "teacher",
): { readonly state?: Params; readonly onState?: (name: string, next: Tensor) => void } {
  const specs = dinoHeadState(config.head);
  if (specs.length === 0) return {};
  const prefix = `${who}.dino_head.`;
  const tensors = new Map(specs.map((s) => [s.name, builder.input(prefix + s.name, s.shape, { kind: "state" })]));
  const state: Params = (name) => tensors.get(name) ?? builder.input(prefix + name, []);
  return { state, onState: (name, next) => builder.output(prefix + name, next, "state") };
}

/** The teacher's logits `[2·b, k]` and class tokens for one micro-batch of global crops. */
export function traceTeacher(config: DinoConfig): Graph {
  const { vit, head, crops, microBatchSize: b } = config;
  const builder = new Builder();
  const params = traceParams(builder, dinoSpecs(config), { prefix: "teacher." });
  const globals = builder.input("globals", [TEACHER_CROPS * b, 3, crops.globalSizePx, crops.globalSizePx]);
  const features = builder.inRegion("teacher", () => applyViT(scoped(params, "backbone."), globals, { config: vit, output: "cls" }));
  const logits = builder.inRegion("teacher/head", () =>
    applyDinoHead(scoped(params, "dino_head."), features, {
      config: head,
      ...traceHeadState(builder, config, "teacher"),
    }),
  );
  builder.output("features", features);
  builder.output("logits", reshape(logits, [TEACHER_CROPS, b, head.prototypes]));
  return builder.graph();
}

/** Targets `[2, b, k]` of the whole batch from the teacher's logits, the next centre, and what monitors watch. */
export function traceTargets(config: DinoConfig): Graph {
  const { head, objective, batchSize: b } = config;
  const builder = new Builder();
  const rows = TEACHER_CROPS * b;
  const logits = reshape(builder.input("logits", [TEACHER_CROPS, b, head.prototypes]), [rows, head.prototypes]);
  const temp = builder.input("teacherTemp", []);
  builder.inRegion("targets", () => {
    const center = objective.centering === "ema" ? builder.input("center", [1, head.prototypes], { kind: "state" }) : undefined;
    const q =
      center === undefined
        ? sinkhornTargets(logits, temp, { iterations: objective.sinkhornIterations })
        : centeredTargets(logits, center, temp);
    builder.output("targets", reshape(q, [TEACHER_CROPS, b, head.prototypes]));
    if (center !== undefined) builder.output("center", nextCenter(center, logits, objective.centerMomentum), "state");
    // the teacher's own sharpness is watched before any balancing: a collapsed teacher shows here first
    builder.output("teacherEntropy", entropy(softmax(div(logits, temp))));
    builder.output("targetEntropy", entropy(q));
    builder.output("prototype", argMax(q, 1));
  });
  return builder.graph();
}

/** Mean over rows of −Σ p ln p. */
function entropy(p: Tensor): Tensor {
  return neg(reduceMean(reduceSum(mul(p, log(add(p, 1e-30))), [1]), [0]));
}

export interface StudentOptions {
  /** Whether gradients so far come in as inputs `running.*` (accumulation over micro-batches). */
  readonly running?: boolean;
}

/**
 * The student's loss and gradients for one micro-batch; targets `[2, b, k]` come in.
 * Each resolution group runs forward and backward before the next one starts, adding to the gradients of the one before.
 */
export function traceStudent(config: DinoConfig, { running = false }: StudentOptions = {}): Graph {
  const { head, microBatchSize: b } = config;
  const builder = new Builder();
  const specs = dinoSpecs(config);
  const params = traceParams(builder, specs, { prefix: "student." });
  const targets = builder.input("targets", [TEACHER_CROPS, b, head.prototypes]);
  const frozen = isFrozen(config);
  const trained = specs.filter((s) => !frozen(s.name));
  const wrt = trained.map((s) => params(s.name));
  let grads: (Tensor | undefined)[] = running ? trained.map((s) => builder.input(`running.${s.name}`, s.shape)) : [];
  const losses: Tensor[] = [];
  for (const groups of head.batchNorm ? [cropGroups(config)] : cropGroups(config).map((g) => [g])) {
    const { loss, reported } = groupLoss(builder, groups, { config, params, targets });
    grads = gradients(loss, wrt, { running: grads });
    losses.push(loss);
    for (const [name, value] of reported) builder.output(name, value);
  }
  builder.inRegion("loss", () =>
    builder.output(
      "loss",
      losses.reduce((x, y) => add(x, y)),
    ),
  );
  trained.forEach((s, i) => {
    const g = grads[i];
    if (g !== undefined) builder.output(s.name, g, "grad");
  });
  return builder.graph();
}

interface GroupContext {
  readonly config: DinoConfig;
  readonly params: Params;
  readonly targets: Tensor;
}

/** The share of the loss of some resolution groups: one of them, or all together where batch norm joins their rows. */
function groupLoss(
  builder: Builder,
  groups: readonly CropGroup[],
  { config, params, targets }: GroupContext,
): { readonly loss: Tensor; readonly reported: readonly (readonly [string, Tensor])[] } {
  const { vit, head, crops, objective, batchSize, microBatchSize: b } = config;
  const features = groups.map((group) => {
    const images = builder.input(group.name, [group.count * b, 3, group.sizePx, group.sizePx]);
    const options = {
      config: vit,
      output: "cls" as const,
      ...dropPathInputs(builder, config, group),
    };
    return builder.inRegion(group.name, () => applyViT(scoped(params, "backbone."), images, options));
  }) as [Tensor, ...Tensor[]]; // there is always the group of globals or of locals
  return builder.inRegion(`${groups.map((g) => g.name).join("+")}/head`, () => {
    const logits = applyDinoHead(scoped(params, "dino_head."), concat(features, 0), {
      config: head,
      ...traceHeadState(builder, config, "student"),
    });
    const reported: [string, Tensor][] = [];
    const terms: Tensor[] = [];
    let row = 0;
    groups.forEach((group, i) => {
      const own = reshape(slice(logits, 0, [row, row + group.count * b]), [group.count, b, head.prototypes]);
      row += group.count * b;
      const pairs = TEACHER_CROPS * (TEACHER_CROPS + crops.localCount - 1);
      const share = b / batchSize; // the mean over the whole batch is the sum of its micro-batches' shares
      const dino = mul(
        dinoLoss(own, targets, {
          studentTemp: objective.studentTemp,
          skipDiagonal: group.isGlobal,
          pairs,
        }),
        share,
      );
      reported.push([`loss.${group.name}`, dino]);
      terms.push(dino);
      const x = features[i];
      if (group.isGlobal && objective.koleoWeight > 0 && x !== undefined) {
        const byCrop = Array.from({ length: group.count }, (_, v) => slice(x, 0, [v * b, (v + 1) * b]));
        const spread = mul(koleoPerCrop(byCrop, { groupSize: config.groupSize ?? b }), share);
        reported.push(["loss.koleo", spread]);
        terms.push(mul(spread, objective.koleoWeight));
      }
    });
    return { loss: terms.reduce((x, y) => add(x, y)), reported };
  });
}
