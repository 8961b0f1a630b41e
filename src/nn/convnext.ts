/** @file DINOv3's ConvNeXt: stages of depthwise 7 × 7 convolutions and MLPs; the class token is the mean of the last map. DINOv3 spec §3.3. */
import { ConfigError, ShapeError } from "../core/index.ts";
import { conv, dims, dotAdd, gelu, mul, reduceMean, reshape, slice, type Tensor, transpose } from "../engine/trace/index.ts";
import { linear, norm, residual } from "./layers.ts";
import { linearSpecs, normSpecs, type Params, type ParamSpec, scoped } from "./params.ts";

/** One value a stage. */
export type Stages = readonly [number, number, number, number];

export interface ConvNeXtConfig {
  readonly family: "convnext";
  /** Blocks of each stage. */
  readonly depths: Stages;
  /** Channels of each stage's map. */
  readonly widths: Stages;
  /** Channels of a picture, 3 unless said. */
  readonly channels?: number;
  /** Start value of the factors on each residual branch, 1e-6 unless said. */
  readonly layerScale?: number;
}

export interface ConvNeXtOptions {
  readonly config: ConvNeXtConfig;
  /** Keep factors of stochastic depth for a block, counted over all stages: 0 or 1/(1−p) for each sample, any shape of b values. */
  readonly dropPath?: (block: number) => Tensor | undefined;
  /** Called with the map `[b, d, y, x]` of each stage (0 to 3), before the final norm. */
  readonly onHidden?: (stage: number, map: Tensor) => void;
}

/** Final-normed features: class token `[b, d]`, patch tokens `[b, p, d]` of the last map, row by row; what is not read is not computed. */
export interface ConvNeXtFeatures {
  readonly cls: Tensor;
  readonly patches: Tensor;
}

const EPS = 1e-6;
const STEM_PX = 4;
/** Pixels of a picture under one pixel of the last map. */
export const CONVNEXT_STRIDE_PX = 32;
const KERNEL_PX = 7;

/** Throws ConfigError for sizes that make no network. */
function check({ depths, widths, channels = 3 }: ConvNeXtConfig): void {
  for (const [key, values] of Object.entries({ depths, widths, channels: [channels] })) {
    if (values.some((n) => !Number.isInteger(n) || n < 1))
      throw new ConfigError(`Cannot build a ConvNeXt: ${key} is ${values.join(", ")}; give whole numbers from 1`, {
        keyPath: `model.${key}`,
      });
  }
}

/** Weight `[out, in, k, k]` and bias of a convolution, started as ConvNeXt does: trunc_normal(.02) and 0. */
function convSpecs(name: string, shape: readonly [out: number, perGroup: number, kernelPx: number]): ParamSpec[] {
  const [out, perGroup, kernelPx] = shape;
  return [
    { name: `${name}.weight`, shape: [out, perGroup, kernelPx, kernelPx], init: { kind: "truncNormal", std: 0.02 } },
    { name: `${name}.bias`, shape: [out], init: { kind: "zeros" } },
  ];
}

function blockSpecs(name: string, width: number, layerScale: number): ParamSpec[] {
  return [
    { name: `${name}.gamma`, shape: [width], init: { kind: "constant", value: layerScale } },
    ...convSpecs(`${name}.dwconv`, [width, 1, KERNEL_PX]),
    ...normSpecs(`${name}.norm`, width),
    ...linearSpecs(`${name}.pwconv1`, { in: width, out: 4 * width }),
    ...linearSpecs(`${name}.pwconv2`, { in: 4 * width, out: width }),
  ];
}

/** Every parameter with its published key name. The checkpoints' `norms.3.*` is `norm.*` once more and has no place of its own here. */
export function convnextSpecs(config: ConvNeXtConfig): ParamSpec[] {
  check(config);
  const { depths, widths, channels = 3, layerScale = 1e-6 } = config;
  const between = ([1, 2, 3] as const).flatMap((s) => [
    ...normSpecs(`downsample_layers.${s}.0`, widths[s - 1] ?? 1),
    ...convSpecs(`downsample_layers.${s}.1`, [widths[s], widths[s - 1] ?? 1, 2]),
  ]);
  const blocks = depths.flatMap((depth, s) =>
    Array.from({ length: depth }, (_, i) => blockSpecs(`stages.${s}.${i}`, widths[s] ?? 1, layerScale)).flat(),
  );
  return [
    ...convSpecs("downsample_layers.0.0", [widths[0], channels, STEM_PX]),
    ...normSpecs("downsample_layers.0.1", widths[0]),
    ...between,
    ...blocks,
    ...normSpecs("norm", widths[3]),
  ];
}

/** Drop rates of every block: a ramp from 0 to `rate` over the whole depth. */
export function convnextDropRates({ depths }: Pick<ConvNeXtConfig, "depths">, rate: number): number[] {
  const blocks = depths.reduce((a, b) => a + b, 0);
  return Array.from({ length: blocks }, (_, i) => (blocks === 1 ? 0 : (rate * i) / (blocks - 1)));
}

/** A convolution whose windows lie side by side is a matrix product: rows `[b·y·x, in·k²]` -> map `[b, y, x, out]`. */
function patchConv(params: Params, rows: Tensor, shape: readonly [b: number, y: number, x: number]): Tensor {
  const weight = params("weight");
  const [out = 1] = weight.shape;
  const flat = reshape(weight, [out, rows.shape[1] ?? 1]);
  return reshape(dotAdd(rows, flat, { transB: true, plus: params("bias") }), [...shape, out]);
}

/** Images `[b, c, y, x]` -> the first map `[b, y/4, x/4, d]`, normed. Pixels beyond the last whole window are left out, as by a convolution. */
function stem(params: Params, images: Tensor, { channels = 3 }: ConvNeXtConfig): Tensor {
  const { b, c, y, x } = dims(images, "b c y x");
  if (c !== channels)
    throw new ShapeError(`Cannot embed ${images.toString()}: it has ${c} channels, the network wants ${channels}; convert the images`);
  if (y < CONVNEXT_STRIDE_PX || x < CONVNEXT_STRIDE_PX)
    throw new ShapeError(
      `Cannot embed ${images.toString()}: nothing is left of it in the last map; give images of ${CONVNEXT_STRIDE_PX} px or more`,
    );
  const k = STEM_PX;
  const [rows, columns] = [Math.floor(y / k), Math.floor(x / k)];
  const whole = slice(slice(images, 2, [0, rows * k]), 3, [0, columns * k]);
  const windows = transpose(reshape(whole, [b, c, rows, k, columns, k]), [0, 2, 4, 1, 3, 5]);
  const map = patchConv(scoped(params, "0."), reshape(windows, [b * rows * columns, c * k * k]), [b, rows, columns]);
  return norm(scoped(params, "1."), map, EPS);
}

/** Norm, then a 2 × 2 convolution with stride 2: `[b, y, x, c]` -> `[b, y/2, x/2, d]`; an odd last row or column is left out. */
function downsample(params: Params, map: Tensor): Tensor {
  const { b, y, x, c } = dims(map, "b y x c");
  const [rows, columns] = [Math.floor(y / 2), Math.floor(x / 2)];
  const whole = slice(slice(map, 1, [0, rows * 2]), 2, [0, columns * 2]);
  const windows = transpose(reshape(norm(scoped(params, "0."), whole, EPS), [b, rows, 2, columns, 2, c]), [0, 1, 3, 5, 2, 4]);
  return patchConv(scoped(params, "1."), reshape(windows, [b * rows * columns, c * 4]), [b, rows, columns]);
}

/** `x + keep · γ ⊙ mlp(LN(dwconv x))`: `[b, y, x, c]` -> the same. */
function block(params: Params, map: Tensor, keep: Tensor | undefined): Tensor {
  const { b, y, x, c } = dims(map, "b y x c");
  const mixed = conv(transpose(map, [0, 3, 1, 2]), params("dwconv.weight"), {
    bias: params("dwconv.bias"),
    pad: (KERNEL_PX - 1) / 2,
    groups: c,
  });
  const rows = norm(scoped(params, "norm."), reshape(transpose(mixed, [0, 2, 3, 1]), [b * y * x, c]), EPS);
  const out = linear(scoped(params, "pwconv2."), gelu(linear(scoped(params, "pwconv1."), rows)));
  const branch = reshape(mul(out, params("gamma")), [b, y, x, c]);
  return residual(map, branch, keep === undefined ? undefined : reshape(keep, [b, 1, 1, 1]));
}

/**
 * Images `[b, c, y, x]` -> features. Inside, maps are `[b, y, x, c]`: rows for the MLPs. Each block is a region of its own, the unit of
 * stages; blocks of one stage are equal but for their inputs. Throws ShapeError for images that do not fit.
 */
export function convnextFeatures(params: Params, images: Tensor, options: ConvNeXtOptions): ConvNeXtFeatures {
  const { config, dropPath, onHidden } = options;
  check(config);
  const { builder } = images;
  let index = 0;
  let map = builder.inRegion("embed", () => stem(scoped(params, "downsample_layers.0."), images, config));
  config.depths.forEach((depth, s) => {
    if (s > 0) map = builder.inRegion(`downsample.${s}`, () => downsample(scoped(params, `downsample_layers.${s}.`), map));
    for (let i = 0; i < depth; i++, index++) {
      const keep = dropPath?.(index);
      map = builder.inRegion(`stages.${s}.${i}`, () => block(scoped(params, `stages.${s}.${i}.`), map, keep));
    }
    onHidden?.(s, transpose(map, [0, 3, 1, 2]));
  });
  const { b, y, x, d } = dims(map, "b y x d");
  return builder.inRegion("norm", () => ({
    cls: norm(scoped(params, "norm."), reduceMean(map, [1, 2]), EPS),
    patches: norm(scoped(params, "norm."), reshape(map, [b, y * x, d]), EPS),
  }));
}
