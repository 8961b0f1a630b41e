/**
 * @file The student's part of a step: every resolution group runs forward and backward before the next one starts, adding to the
 * gradients of the one before (contracts 3, 6). What is asked of a group's features is the method's `terms`.
 */
import { gradients } from "../engine/grad/index.ts";
import type { Graph } from "../engine/ir/index.ts";
import { add, Builder, concat, mul, reshape, slice, type Tensor } from "../engine/trace/index.ts";
import { applyDinoHead, applyViT, type Params, scoped, traceParams } from "../nn/index.ts";
import type { StepConfig } from "./config.ts";
import { type CropGroup, cropGroups } from "./crop-groups.ts";
import { dropPathInputs } from "./drop-path.ts";
import type { Learner } from "./method.ts";
import { headState } from "./networks.ts";
import { StateThread } from "./state-thread.ts";

/** The features of one resolution group of a micro-batch of `b` images. */
export interface Group extends CropGroup {
  readonly b: number;
  /** Final-normed class tokens `[count·b, d]`. */
  readonly cls: Tensor;
  /** The DINO head's logits `[count, b, k]`. */
  readonly logits: Tensor;
  readonly builder: Builder;
  readonly params: Params;
}

/** A part of the loss: reported as `loss.NAME`, and added times `weight` (1). */
export interface Term {
  readonly name: string;
  readonly value: Tensor;
  readonly weight?: number | Tensor;
}

export interface StudentOptions {
  readonly learner: Learner;
  readonly terms: (group: Group, builder: Builder) => readonly Term[];
  /** Whether gradients so far come in as inputs `running.*` (accumulation over micro-batches). */
  readonly running: boolean;
}

/** The student's loss and gradients for one micro-batch. */
export function traceStudent(config: StepConfig, { learner, terms, running }: StudentOptions): Graph {
  const builder = new Builder();
  const params = traceParams(builder, learner.specs, { prefix: `${learner.name}.` });
  const state = new StateThread(builder, headState(config), { prefix: `${learner.name}.` });
  const trained = learner.specs.filter((s) => !learner.isFrozen(s.name));
  const wrt = trained.map((s) => params(s.name));
  let grads: (Tensor | undefined)[] = running ? trained.map((s) => builder.input(`running.${s.name}`, s.shape)) : [];
  const losses: Tensor[] = [];
  for (const groups of passes(config)) {
    const found = forward(config, groups, { builder, params, state });
    const loss = builder.inRegion(`${groups.map((g) => g.name).join("+")}/head`, () => {
      const all = found.flatMap((group) => terms(group, builder));
      for (const { name, value } of all) builder.output(`loss.${name}`, value);
      return sum(all.map(({ value, weight = 1 }) => (weight === 1 ? value : mul(value, weight))));
    });
    grads = gradients(loss, wrt, { running: grads });
    losses.push(loss);
  }
  builder.inRegion("loss", () => builder.output("loss", sum(losses)));
  trained.forEach((s, i) => {
    const g = grads[i];
    if (g !== undefined) builder.output(s.name, g, "grad");
  });
  state.finish();
  return builder.graph();
}

/** Groups that run together: each alone, or all where batch norm joins their rows. */
function passes(config: StepConfig): CropGroup[][] {
  const groups = cropGroups(config);
  return config.head.batchNorm ? [groups] : groups.map((g) => [g]);
}

function forward(
  config: StepConfig,
  groups: readonly CropGroup[],
  { builder, params, state }: { readonly builder: Builder; readonly params: Params; readonly state: StateThread },
): Group[] {
  const { vit, head, microBatchSize: b } = config;
  const features = groups.map((group) => {
    const images = builder.input(group.name, [group.count * b, 3, group.sizePx, group.sizePx]);
    const options = { config: vit, output: "cls" as const, ...dropPathInputs(builder, config, group) };
    return builder.inRegion(group.name, () => applyViT(scoped(params, "backbone."), images, options));
  }) as [Tensor, ...Tensor[]]; // there is always the group of globals or of locals
  return builder.inRegion(`${groups.map((g) => g.name).join("+")}/head`, () => {
    const logits = applyDinoHead(scoped(params, "dino_head."), concat(features, 0), { config: head, ...state.options("dino_head.") });
    let row = 0;
    return groups.map((group, i) => {
      const rows = group.count * b;
      const own = reshape(slice(logits, 0, [row, row + rows]), [group.count, b, head.prototypes]);
      row += rows;
      return { ...group, b, cls: features[i] ?? features[0], logits: own, builder, params };
    });
  });
}

function sum(xs: readonly Tensor[]): Tensor {
  return xs.reduce((x, y) => add(x, y));
}
