/** @file What a backbone costs, by formula from the shapes of its parameters: parameters, multiply-accumulates, memory. Nothing is run. */
import { ConfigError, sizeOf } from "../../core/index.ts";
import {
  type BackboneConfig,
  backboneSpecs,
  type ConvNeXtConfig,
  isViT,
  type ParamSpec,
  prefixTokens,
  type ResNetConfig,
  type ViTConfig,
} from "../../nn/index.ts";

const F32_BYTES = 4;

/** The cost of one square picture. */
export interface ForwardCost {
  readonly imageSizePx: number;
  /** Tokens of a ViT (with class token and registers), pixels of the last map of a convolutional network. */
  readonly tokens: number;
  /** Multiply-accumulates of all matrix products and convolutions; norms, activations and softmax are not counted. */
  readonly macs: number;
  /** 2 · macs. */
  readonly flop: number;
  /** The largest tensors that are alive at once in f32, without the weights: what a forward pass needs at least. */
  readonly activationBytes: number;
}

/** Numbers in all parameters. Throws ConfigError for sizes that make no network. */
export function countParameters(config: BackboneConfig): number {
  return backboneSpecs(config).reduce((n, { shape }) => n + sizeOf(shape), 0);
}

/** Bytes of all parameters in f32. */
export function weightBytes(config: BackboneConfig): number {
  return F32_BYTES * countParameters(config);
}

/** A weight is used once at each of its positions: Σ size · positions. Biases, gains and tokens multiply nothing that counts. */
function sumProducts(specs: readonly ParamSpec[], positionsOf: (name: string) => number): number {
  const weights = specs.filter(({ name, shape }) => name.endsWith(".weight") && shape.length >= 2);
  return weights.reduce((n, { name, shape }) => n + sizeOf(shape) * positionsOf(name), 0);
}

type Counts = Pick<ForwardCost, "tokens" | "macs" | "activationBytes">;

/** Per block of T tokens, width D, hidden H: 4·D²·T + 2·D·H·T (3 for SwiGLU) for the layers, 2·T²·D for the attention. */
function countViT(config: ViTConfig, sizePx: number): Counts {
  const { width, depth, heads, patchSizePx } = config;
  const patches = (sizePx / patchSizePx) ** 2;
  const tokens = prefixTokens(config) + patches;
  const layers = sumProducts(backboneSpecs(config), (name) => (name.startsWith("patch_embed.") ? patches : tokens));
  const hidden = config.ffnHidden ?? width * config.mlpRatio;
  const isGated = config.ffn === "swiglu" || config.ffn === "swiglu-fused";
  // attention: tokens, q, k, v, scores and probabilities; feed-forward: tokens twice, the hidden layer before and after (gate, value, product)
  const attention = 4 * tokens * width + 2 * heads * tokens ** 2;
  const feedForward = tokens * (2 * width + (isGated ? 3 : 2) * hidden);
  return {
    tokens,
    macs: layers + depth * 2 * tokens ** 2 * width,
    activationBytes: F32_BYTES * Math.max(attention, feedForward),
  };
}

/** Sides of the maps of the four stages. */
function convnextSides(sizePx: number): readonly number[] {
  const first = Math.floor(sizePx / 4);
  return [0, 1, 2, 3].map((s) => Math.floor(first / 2 ** s));
}

/** Names `downsample_layers.S.…` and `stages.S.…` say the stage. */
function stageOf(name: string): number {
  return Number(name.split(".")[1] ?? 0);
}

function countConvNeXt(config: ConvNeXtConfig, sizePx: number): Counts {
  const areas = convnextSides(sizePx).map((side) => side ** 2);
  const macs = sumProducts(backboneSpecs(config), (name) => areas[stageOf(name)] ?? 0);
  // a block: its input, the mixed map, and the hidden layer of four times the channels before and after GELU
  const blocks = config.widths.map((width, s) => (areas[s] ?? 0) * width * (1 + 1 + 4 + 4));
  return { tokens: areas[3] ?? 0, macs, activationBytes: F32_BYTES * Math.max(...blocks) };
}

/** Side of the stem's map (0) and of the four layers' (1 to 4): each half, rounded up; the pooling after the stem halves too. */
function resnetSides(sizePx: number): readonly number[] {
  const half = (n: number): number => Math.ceil(n / 2);
  const stem = half(sizePx);
  const first = half(stem);
  return [stem, first, half(first), half(half(first)), half(half(half(first)))];
}

function countResNet(config: ResNetConfig, sizePx: number): Counts {
  const sides = resnetSides(sizePx);
  const sideOf = (name: string): number => {
    const [, layer = "0", index = "0", conv = ""] = /^layer(\d)\.(\d+)\.(\w+)/.exec(name) ?? [];
    // torchvision's bottleneck has its stride in the 3 × 3 convolution: the 1 × 1 before it still sees the larger map
    const early = config.block === "bottleneck" && layer !== "1" && index === "0" && conv === "conv1";
    return sides[Number(layer) - (early ? 1 : 0)] ?? 0;
  };
  const specs = backboneSpecs(config);
  const macs = sumProducts(specs, (name) => sideOf(name) ** 2);
  const outputs = specs.filter(({ shape }) => shape.length === 4).map(({ name, shape }) => (shape[0] ?? 0) * sideOf(name) ** 2);
  // a block: the kept input, and a convolution's input and output, each at most the largest map
  return { tokens: (sides[4] ?? 0) ** 2, macs, activationBytes: F32_BYTES * 3 * Math.max(...outputs) };
}

function checkSize(config: BackboneConfig, sizePx: number): void {
  const step = isViT(config) ? config.patchSizePx : 32;
  if (!Number.isSafeInteger(sizePx) || sizePx < step)
    throw new ConfigError(`Cannot count pictures of ${sizePx} px: the network wants ${step} px or more; give a larger size`, {
      keyPath: "imageSizePx",
    });
  if (isViT(config) && sizePx % step !== 0)
    throw new ConfigError(
      `Cannot count pictures of ${sizePx} px: that is no multiple of the patches of ${step} px; give ${step * Math.floor(sizePx / step)} or ${step * Math.ceil(sizePx / step)}`,
      { keyPath: "imageSizePx" },
    );
}

/** What one square picture of `imageSizePx` costs, batch 1. Throws ConfigError for sizes that do not fit the network. */
export function countForward(config: BackboneConfig, imageSizePx: number): ForwardCost {
  checkSize(config, imageSizePx);
  const counts = isViT(config)
    ? countViT(config, imageSizePx)
    : config.family === "convnext"
      ? countConvNeXt(config, imageSizePx)
      : countResNet(config, imageSizePx);
  return { imageSizePx, flop: 2 * counts.macs, ...counts };
}
