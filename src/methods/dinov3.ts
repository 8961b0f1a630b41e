/**
 * @file DINOv3 (Siméoni et al. 2025): DINOv2's objectives with local crops re-weighted, and Gram anchoring, which holds the similarities
 * between a crop's patches to those an earlier teacher saw, so that dense features survive long training.
 *
 *   gram      patch tokens of the Gram teacher, which may see its crops at a higher resolution
 *   student   loss = DINO (locals times λ) + iBOT + 0.1 · KoLeo + w · ‖X Xᵀ − G Gᵀ‖², rows normalised
 */
import type { Graph } from "../engine/ir/index.ts";
import { Builder, mul } from "../engine/trace/index.ts";
import { backboneFeatures, backboneSpecs, backboneWidth, gridSideOf, type ParamSpec, prefixed, scoped, traceParams } from "../nn/index.ts";
import { gramLoss, type GramLossOptions, resizeFeatures } from "../objectives/index.ts";
import { TEACHER_CROPS } from "./crop-groups.ts";
import { type Dinov2Config, dinov2Objectives } from "./dinov2.ts";
import { patchesOf } from "./masking.ts";
import { crops, type Method } from "./method.ts";
import { NOTHING, type Objective } from "./objective.ts";
import { selfDistillation } from "./self-distillation.ts";

export interface GramConfig extends Omit<GramLossOptions, "tokens"> {
  /** Side of the crops the Gram teacher sees; its patch map is brought to the student's grid. */
  readonly sizePx: number;
  /** The live averaged teacher gives the targets: no further network, no further crops. */
  readonly useEma: boolean;
  /** Patches that count: all, or only those the student sees masked or not (`level: "batch"`). */
  readonly tokens: "all" | "masked" | "unmasked";
}

export interface Dinov3Config extends Dinov2Config {
  /** Gram anchoring; the weight of its loss is the scalar input `gramWeight`. */
  readonly gram?: GramConfig;
}

/** DINOv3 as a method: the first stage without, later stages with `gram`. */
export function dinov3(config: Dinov3Config): Method {
  const { gram } = config;
  if (gram === undefined) return selfDistillation("dinov3", config, dinov2Objectives(config));
  const method = selfDistillation("dinov3", config, [...dinov2Objectives(config), gramObjective(config, gram)]);
  if (gram.useEma) return method;
  return {
    ...method,
    fixed: [{ name: "gram", specs: gramSpecs(config), changes: true }],
    parts: [{ name: "gram", per: "micro", trace: () => gramTeacher(config, gram) }, ...method.parts],
    cuts: new Map([...method.cuts, ["gramCrops", crops(TEACHER_CROPS)]]),
  };
}

function gramSpecs({ backbone }: Dinov3Config): ParamSpec[] {
  return prefixed(backboneSpecs(backbone), "backbone.");
}

/** Normalised-by-layer-norm patch tokens `[2·b, p, d]` of the Gram teacher on the student's grid. DINOv3 §4.2, §4.3. */
function gramTeacher(config: Dinov3Config, { sizePx }: GramConfig): Graph {
  const {
    backbone,
    microBatchSize: b,
    crops: { globalSizePx },
  } = config;
  const builder = new Builder();
  const params = traceParams(builder, gramSpecs(config), { prefix: "gram." });
  const images = builder.input("gramCrops", [TEACHER_CROPS * b, backbone.channels ?? 3, sizePx, sizePx]);
  const { patches } = builder.inRegion("gram", () =>
    backboneFeatures(scoped(params, "backbone."), images, { config: backbone, patches: true }),
  );
  if (patches === undefined) throw new RangeError("Cannot anchor Gram matrices: the backbone gave no patch tokens; use a ViT");
  const [from, to] = [gridSideOf(backbone, sizePx), gridSideOf(backbone, globalSizePx)];
  const resized = builder.inRegion("gram/resize", () =>
    resizeFeatures(patches, { from: { rows: from, columns: from }, to: { rows: to, columns: to } }),
  );
  builder.output("gramTargets", resized);
  return builder.graph();
}

/** Mean squared difference of patch similarities. DINOv3 §4.2, eq. 2. */
function gramObjective(config: Dinov3Config, gram: GramConfig): Objective {
  const { batchSize, microBatchSize: micro, backbone } = config;
  const shape = [TEACHER_CROPS * micro, patchesOf(config), backboneWidth(backbone)];
  const { tokens: used, sizePx: _, useEma, ...options } = gram;
  return {
    ...NOTHING,
    name: "gram",
    wantsPatches: true,
    cuts: [["gramTargets", crops(TEACHER_CROPS)]],

    teacher({ patches }, { builder }) {
      if (useEma && patches !== undefined) builder.output("gramTargets", patches);
    },

    student(groups, { builder, b }) {
      const patches = groups.find(({ isGlobal }) => isGlobal)?.patches;
      if (patches === undefined) return [];
      const tokens = used === "all" ? {} : { tokens: { mask: builder.sharedInput("mask", shape.slice(0, 2)), used } };
      const loss = gramLoss(patches, builder.input("gramTargets", shape), { ...options, ...tokens });
      return [{ name: "gram", value: mul(loss, b / batchSize), weight: builder.sharedInput("gramWeight", []) }];
    },
  };
}
