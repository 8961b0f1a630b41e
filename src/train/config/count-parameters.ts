/** @file Parameters of backbones and heads, counted from their sizes. */
import { stagedConfig } from "./arch-table.ts";
import type { HeadConfig, ModelConfig } from "./types.ts";

/** Hidden width of the feed-forward part. */
export function hiddenWidth({ ffnHidden, mlpRatio, width }: Pick<ModelConfig, "ffnHidden" | "mlpRatio" | "width">): number {
  return ffnHidden > 0 ? ffnHidden : Math.round(width * mlpRatio);
}

function vitParameters(model: ModelConfig): number {
  const { width: d, depth, channels, patchSizePx: p } = model;
  const hidden = hiddenWidth(model);
  const norm = model.norm === "rmsnorm" ? d : 2 * d;
  const attention = 4 * d * d + (model.qkvBias ? 4 : 1) * d;
  const ffn = model.ffn === "mlp" ? 2 * d * hidden + hidden + d : 3 * d * hidden + 2 * hidden + d;
  const block = attention + ffn + 2 * norm + (model.layerScale > 0 ? 2 * d : 0);
  const positions = model.positions === "learned" ? (Math.floor(model.imageSizePx / p) ** 2 + 1) * d : 0;
  const tokens = (1 + model.registers + (model.maskToken ? 1 : 0)) * d;
  return channels * p * p * d + d + positions + tokens + depth * block + norm + (model.localClsNorm ? norm : 0);
}

/** Blocks of each stage, and channels of its output. */
export interface Stages {
  readonly depths: readonly number[];
  readonly widths: readonly number[];
}

/** The stages of a ConvNeXt or ResNet. */
export function stagesOf({ arch }: Pick<ModelConfig, "arch">): Stages {
  const config = stagedConfig(arch);
  if (config === undefined) return { depths: [], widths: [] };
  if (config.family === "convnext") return config;
  const expansion = config.block === "basic" ? 1 : 4;
  return { depths: config.depths, widths: config.depths.map((_, i) => expansion * config.width * 2 ** i) };
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** DINOv3 spec §3.3: depthwise 7 x 7, layer norm, two linear layers with four times the channels, a gain. */
function convnextParameters(model: ModelConfig): number {
  const { depths, widths } = stagesOf(model);
  const [first = 0] = widths;
  const stem = model.channels * 16 * first + 3 * first;
  const down = sum(widths.slice(1).map((c, i) => 4 * (widths[i] ?? 0) * c + c + 2 * (widths[i] ?? 0)));
  const blocks = sum(widths.map((c, i) => (depths[i] ?? 0) * (8 * c * c + 58 * c)));
  return stem + down + blocks + 2 * model.width;
}

/** Torchvision's, without the classifier. ResNet-18 has basic blocks, ResNet-50 bottlenecks of a quarter of the width. */
function resnetParameters(model: ModelConfig): number {
  const { depths, widths } = stagesOf(model);
  const isBasic = (widths[0] ?? 0) === 64;
  const conv = (from: number, to: number, side: number): number => from * to * side * side + 2 * to; // with its batch norm
  const block = (from: number, to: number): number =>
    isBasic ? conv(from, to, 3) + conv(to, to, 3) : conv(from, to / 4, 1) + conv(to / 4, to / 4, 3) + conv(to / 4, to, 1);
  const stages = widths.map((to, i) => {
    const from = widths[i - 1] ?? 64;
    const shortcut = from === to ? 0 : conv(from, to, 1);
    return block(from, to) + shortcut + ((depths[i] ?? 1) - 1) * block(to, to);
  });
  return conv(model.channels, 64, 7) + sum(stages);
}

const COUNT: { readonly [F in ModelConfig["family"]]: (model: ModelConfig) => number } = {
  vit: vitParameters,
  convnext: convnextParameters,
  resnet: resnetParameters,
};

/** Parameters of the backbone: DINO's ViT-S/16 has 21,665,664. */
export function backboneParameters(model: ModelConfig): number {
  return COUNT[model.family](model);
}

type HeadSizes = Pick<HeadConfig, "prototypes" | "hidden" | "bottleneck" | "layers" | "batchNorm"> & Partial<Pick<HeadConfig, "lastLayer">>;

/** Parameters of the DINO head, the last layer's gains included: DINO's for ViT-S has 22,352,128. */
export function headParameters(head: HeadSizes, width: number): number {
  const { hidden: h, bottleneck: b, prototypes: k, layers } = head;
  const mlp = layers === 1 ? width * b + b : width * h + h + (layers - 2) * (h * h + h) + h * b + b;
  const norms = head.batchNorm && layers > 1 ? (layers - 1) * 2 * h : 0;
  return mlp + norms + b * k + (head.lastLayer === "plain" ? 0 : k);
}

/** The iBOT head's sizes as those of a head of its own. */
export function ibotHead(head: HeadConfig): HeadConfig {
  return { ...head, prototypes: head.ibotPrototypes, hidden: head.ibotHidden, bottleneck: head.ibotBottleneck };
}
