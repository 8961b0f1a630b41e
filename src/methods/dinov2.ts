/**
 * @file DINOv2 (Oquab et al. 2023): DINO on class tokens, iBOT on masked patches, KoLeo on features, targets by Sinkhorn–Knopp.
 *
 *   teacher   class logits and, at the masked places, patch logits of the averaged network, which sees whole crops
 *   targets   both balanced over the whole batch
 *   student   global crops come in with patches masked; loss = DINO + iBOT at the masked places + 0.1 · KoLeo
 */
import { gather, reshape, type Tensor } from "../engine/trace/index.ts";
import { applyDinoHead, dinoHeadSpecs, type DinoHeadConfig, gridSideOf, prefixed, scoped } from "../nn/index.ts";
import { ibotLoss, resizeFeatures } from "../objectives/index.ts";
import { TEACHER_CROPS } from "./crop-groups.ts";
import { type DinoConfig, dinoObjective } from "./dino.ts";
import { koleoObjective } from "./koleo.ts";
import { drawMaskInputs, MASK_CUTS, type MaskConfig, maskRows, patchesOf } from "./masking.ts";
import { type Method, ROWS } from "./method.ts";
import { type Group, type Network, NOTHING, type Objective } from "./objective.ts";
import { selfDistillation } from "./self-distillation.ts";
import { centerState, makeTargets } from "./teacher-targets.ts";

export interface Dinov2Config extends DinoConfig {
  /** Whether the student's global crops come in masked; distilled students see them whole. */
  readonly masksStudent?: boolean;
  /** The patches' own head, or DINO's for both. */
  readonly ibotHead: DinoHeadConfig | "shared";
  readonly mask: MaskConfig;
  readonly objective: DinoConfig["objective"] & { readonly ibotWeight: number };
}

/** DINOv2 as a method. */
export function dinov2(config: Dinov2Config): Method {
  return selfDistillation("dinov2", config, dinov2Objectives(config));
}

export function dinov2Objectives(config: Dinov2Config): Objective[] {
  const ibot = config.objective.ibotWeight === 0 ? [] : [ibotObjective(config)];
  return [dinoObjective(config), ...ibot, ...koleoObjective(config)];
}

/** Patch tokens `[n, p, d]` on the grid that masks are drawn on: a distilled student's own grid may be another. */
function onGrid(tokens: Tensor, config: Dinov2Config): Tensor {
  const [own, to] = [gridSideOf(config.backbone, config.crops.globalSizePx), Math.sqrt(patchesOf(config))];
  return own === to ? tokens : resizeFeatures(tokens, { from: { rows: own, columns: own }, to: { rows: to, columns: to } });
}

/** Cross-entropy of the student's masked patches against the teacher's visible ones. iBOT §3.2; DINOv2 §4. */
export function ibotObjective(config: Dinov2Config): Objective {
  const { batchSize, microBatchSize: micro, objective, masksStudent = true } = config;
  const own = config.ibotHead === "shared" ? undefined : config.ibotHead;
  const head = own ?? config.head;
  const name = own === undefined ? "dino_head." : "ibot_head.";
  const k = head.prototypes;
  const rows = maskRows(config);
  const patches = patchesOf(config);

  /** Patch tokens `[2·b, p, d]` at the masked places -> logits `[m, k]` over the temperature. */
  const maskedLogits = ({ patches: tokens }: Group, { builder, params }: Network, temperature = 1): Tensor => {
    if (tokens === undefined) throw new RangeError("Cannot take masked patches: the backbone gave none; use one with patch tokens");
    const flat = reshape(onGrid(tokens, config), [TEACHER_CROPS * micro * patches, tokens.shape[2] ?? 1]);
    const index = builder.sharedInput("maskIndex", [rows], { dtype: "i32" });
    return applyDinoHead(scoped(params, name), gather(flat, index, { unique: true }), { config: head, temperature });
  };

  return {
    ...NOTHING,
    name: "ibot",
    specs: own === undefined ? [] : prefixed(dinoHeadSpecs(own), name),
    state: centerState("ibot.center", k, objective),
    wantsPatches: true,
    cuts: [...MASK_CUTS, ["patchLogits", ROWS], ["patchTargets", ROWS]],
    draw: (options) => drawMaskInputs(config, options),
    view: ({ isGlobal }, { builder, b }) =>
      isGlobal && masksStudent ? { mask: builder.sharedInput("mask", [TEACHER_CROPS * b, patches]) } : {},

    teacher(globals, network) {
      network.builder.output("patchLogits", maskedLogits(globals, network));
    },

    targets(builder, temp) {
      const all = rows * (batchSize / micro);
      const logits = builder.input("patchLogits", [all, k]);
      const [valid, count] = [builder.input("maskValid", [all]), builder.input("maskCount", [])];
      const listed = { valid, count };
      const { q, entropy, teacherEntropy } = makeTargets(builder, logits, { name: "ibot.center", temp, config: objective, listed });
      builder.output("patchTargets", q);
      builder.output("patchTeacherEntropy", teacherEntropy);
      builder.output("patchTargetEntropy", entropy);
    },

    student(groups, network) {
      const globals = groups.find(({ isGlobal }) => isGlobal);
      if (globals === undefined) return [];
      const { builder } = network;
      const loss = ibotLoss(maskedLogits(globals, network, objective.studentTemp), builder.input("patchTargets", [rows, k]), {
        weights: builder.input("maskWeight", [rows]),
        studentTemp: 1, // the head has divided by it
        images: TEACHER_CROPS * batchSize,
      });
      return [{ name: "ibot", value: loss, weight: objective.ibotWeight }];
    },
  };
}
