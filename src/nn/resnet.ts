/** @file ResNet as torchvision defines it (stride in the 3 × 3 convolution), without its classifier. DINO spec §1.7. */
import { ConfigError, ShapeError } from "../core/index.ts";
import { add, conv, dims, maxPool, reduceMean, relu, reshape, type Tensor, transpose } from "../engine/trace/index.ts";
import { batchNorm, batchNormSpecs, batchNormState, type BatchNormState } from "./batch-norm.ts";
import type { Params, ParamSpec } from "./params.ts";

export interface ResNetConfig {
  readonly family: "resnet";
  /** Two 3 × 3 convolutions, or 1 × 1, 3 × 3, 1 × 1 with four times the channels at the end. */
  readonly block: "basic" | "bottleneck";
  /** Blocks of each of the four layers. */
  readonly depths: readonly [number, number, number, number];
  /** Channels of the stem; each layer has twice those of the one before. 64 in the published networks. */
  readonly width: number;
  /** Channels of a picture, 3 unless said. */
  readonly channels?: number;
}

export interface ResNetOptions extends BatchNormState {
  readonly config: ResNetConfig;
  /** Called with the map `[b, d, y, x]` of the stem (0) and of each layer (1 to 4). */
  readonly onHidden?: (index: number, map: Tensor) => void;
}

/** The mean `[b, d]` of the last map, and its pixels `[b, p, d]`, row by row; what is not read is not computed. */
export interface ResNetFeatures {
  readonly cls: Tensor;
  readonly patches: Tensor;
}

/** Pixels of a picture under one pixel of the last map. */
export const RESNET_STRIDE_PX = 32;

/** Numbers in a feature of the last map. */
export function resnetWidth({ block, width }: Pick<ResNetConfig, "block" | "width">): number {
  return 8 * width * EXPANSION[block];
}

const EXPANSION = { basic: 1, bottleneck: 4 } as const;

/** A convolution without bias, with the batch norm after it. */
interface Layer {
  readonly conv: string;
  readonly norm: string;
  readonly in: number;
  readonly out: number;
  readonly kernelPx: number;
  readonly stride: number;
}

/** One residual block: its branch, and the convolution that fits its input to its output, where they differ. */
interface Block {
  readonly name: string;
  readonly branch: readonly Layer[];
  readonly shortcut: Layer | undefined;
}

const STEM = { conv: "conv1", norm: "bn1", kernelPx: 7, stride: 2 } as const;

function stemOf({ width, channels = 3 }: ResNetConfig): Layer {
  return { ...STEM, in: channels, out: width };
}

/** Kernels of a branch, and which of them has the block's stride. */
const BRANCH = { basic: { kernels: [3, 3], strided: 0 }, bottleneck: { kernels: [1, 3, 1], strided: 1 } } as const;

function blockOf(config: ResNetConfig, { layer, index }: { readonly layer: number; readonly index: number }): Block {
  const { kernels, strided } = BRANCH[config.block];
  const expansion = EXPANSION[config.block];
  const inner = config.width * 2 ** (layer - 1);
  const from = index > 0 ? inner * expansion : layer === 1 ? config.width : (inner / 2) * expansion;
  const stride = layer > 1 && index === 0 ? 2 : 1;
  const name = `layer${layer}.${index}`;
  const branch = kernels.map((kernelPx, i) => ({
    conv: `${name}.conv${i + 1}`,
    norm: `${name}.bn${i + 1}`,
    in: i === 0 ? from : inner,
    out: i === kernels.length - 1 ? inner * expansion : inner,
    kernelPx,
    stride: i === strided ? stride : 1,
  }));
  const same = stride === 1 && from === inner * expansion;
  const fitted = { conv: `${name}.downsample.0`, norm: `${name}.downsample.1`, in: from, out: inner * expansion, kernelPx: 1, stride };
  return { name, branch, shortcut: same ? undefined : fitted };
}

/** The blocks of each layer. Throws ConfigError for sizes that make no network. */
function layersOf(config: ResNetConfig): Block[][] {
  const { depths, width, channels = 3 } = config;
  for (const [key, values] of Object.entries({ depths, width: [width], channels: [channels] })) {
    if (values.some((n) => !Number.isInteger(n) || n < 1))
      throw new ConfigError(`Cannot build a ResNet: ${key} is ${values.join(", ")}; give whole numbers from 1`, {
        keyPath: `model.${key}`,
      });
  }
  return depths.map((depth, i) => Array.from({ length: depth }, (_, index) => blockOf(config, { layer: i + 1, index })));
}

/** All convolutions, in the order of the published keys. */
function convolutions(config: ResNetConfig): Layer[] {
  const blocks = layersOf(config).flat();
  return [stemOf(config), ...blocks.flatMap(({ branch, shortcut }) => [...branch, ...(shortcut === undefined ? [] : [shortcut])])];
}

/** Every parameter with its published key name; convolutions start as torchvision's do: N(0, 2 / (out · k²)). */
export function resnetSpecs(config: ResNetConfig): ParamSpec[] {
  return convolutions(config).flatMap(({ conv: name, norm, in: from, out, kernelPx }) => [
    {
      name: `${name}.weight`,
      shape: [out, from, kernelPx, kernelPx],
      init: { kind: "normal", std: Math.sqrt(2 / (out * kernelPx ** 2)) },
    },
    ...batchNormSpecs(norm, out),
  ]);
}

/** Running statistics under their published names. `num_batches_tracked` is not among them: the momentum does not depend on it. */
export function resnetState(config: ResNetConfig): ParamSpec[] {
  return convolutions(config).flatMap(({ norm, out }) => batchNormState(norm, out));
}

/** Convolution and batch norm. */
function applyLayer(params: Params, x: Tensor, { layer, ...state }: BatchNormState & { readonly layer: Layer }): Tensor {
  const y = conv(x, params(`${layer.conv}.weight`), { stride: layer.stride, pad: (layer.kernelPx - 1) / 2 });
  return batchNorm(params, y, { ...state, name: layer.norm });
}

/** `relu(shortcut(x) + branch(x))`; the branch has a relu after each layer but its last. */
function applyBlock(params: Params, x: Tensor, { block, ...state }: BatchNormState & { readonly block: Block }): Tensor {
  const branch = block.branch.reduce((y, layer, i) => applyLayer(params, i === 0 ? y : relu(y), { ...state, layer }), x);
  return relu(add(branch, block.shortcut === undefined ? x : applyLayer(params, x, { ...state, layer: block.shortcut })));
}

/**
 * Images `[b, c, y, x]` -> features. Each block is a region of its own, the unit of stages; equal blocks of a layer share a session.
 * With `onState` batch norm trains: batch statistics, and new running ones by name. Throws ShapeError for images that do not fit,
 * RangeError without state.
 */
export function resnetFeatures(params: Params, images: Tensor, { config, onHidden, ...state }: ResNetOptions): ResNetFeatures {
  const { channels = 3 } = config;
  const layers = layersOf(config);
  const { c } = dims(images, "_ c _ _");
  if (c !== channels)
    throw new ShapeError(`Cannot embed ${images.toString()}: it has ${c} channels, the network wants ${channels}; convert the images`);
  const { builder } = images;
  let map = builder.inRegion("embed", () =>
    maxPool(relu(applyLayer(params, images, { ...state, layer: stemOf(config) })), 3, { stride: 2, pad: 1 }),
  );
  onHidden?.(0, map);
  layers.forEach((blocks, i) => {
    for (const block of blocks) map = builder.inRegion(block.name, () => applyBlock(params, map, { ...state, block }));
    onHidden?.(i + 1, map);
  });
  const { b, d, y, x } = dims(map, "b d y x");
  return builder.inRegion("pool", () => ({
    cls: reduceMean(map, [2, 3]),
    patches: transpose(reshape(map, [b, d, y * x]), [0, 2, 1]),
  }));
}
