/** @file From pictures to tokens: patch embedding, mask token, class token, registers, learned positions. DINO spec §1.6, §2.3, §3.1. */
import { type HostTensor, ShapeError, sizeOf } from "../core/index.ts";
import { add, broadcast, concat, dims, dotAdd, mul, reshape, split, sub, type Tensor, transpose } from "../engine/trace/index.ts";
import type { Params } from "./params.ts";
import { type Grid, interpolatePositions } from "./position.ts";
import type { ViTConfig } from "./vit-config.ts";

/** The patches of a picture. Throws ShapeError where the picture does not fit the network. */
export function gridOf(images: Tensor, { patchSizePx: patch, channels = 3 }: ViTConfig): Grid {
  const { c, y, x } = dims(images, "_ c y x");
  if (c !== channels)
    throw new ShapeError(`Cannot embed ${images.toString()}: it has ${c} channels, the network wants ${channels}; convert the images`);
  if (y % patch !== 0 || x % patch !== 0)
    throw new ShapeError(
      `Cannot cut ${images.toString()} into patches of ${patch} px: height and width must be multiples of ${patch}; crop or resize the images`,
    );
  return { rows: y / patch, columns: x / patch };
}

/** Images `[b, c, y, x]` -> patch rows `[b·p, c·patch²]`, channel-major inside a patch as in a convolution's weight. */
function patchify(images: Tensor, { rows, columns }: Grid, patch: number): Tensor {
  const { b, c } = dims(images, "b c _ _");
  const grid = transpose(reshape(images, [b, c, rows, patch, columns, patch]), [0, 2, 4, 1, 3, 5]);
  return reshape(grid, [b * rows * columns, c * patch * patch]);
}

/** `x (1 − m) + m token`: x `[b, p, d]`, m `[b, p]` with 1 where the token stands in for the patch. */
function maskPatches(params: Params, x: Tensor, { mask, config }: { readonly mask: Tensor; readonly config: ViTConfig }): Tensor {
  const { b, p } = dims(x, "b p _");
  if (config.maskToken !== true)
    throw new RangeError("Cannot mask patches: the network has no mask token; set maskToken in its configuration");
  if (mask.dtype !== "f32" || mask.shape.join() !== `${b},${p}`)
    throw new ShapeError(`Cannot mask patches by ${mask.toString()}: there are ${p} of ${b} images; give float32[${b},${p}]`);
  const m = reshape(mask, [b, p, 1]);
  return add(mul(x, sub(1, m)), mul(m, params("mask_token")));
}

/** The tokens `[cls, registers, patches]` before the first block: `[b, c, y, x]` -> `[b, 1 + r + p, d]`. Registers have no positions. */
export function embed(
  params: Params,
  images: Tensor,
  { config, mask }: { readonly config: ViTConfig; readonly mask: Tensor | undefined },
): Tensor {
  const { b, c } = dims(images, "b c _ _");
  const { width, patchSizePx: patch, registers = 0, registerName = "register_tokens" } = config;
  const grid = gridOf(images, config);
  const p = grid.rows * grid.columns;
  const weight = reshape(params("patch_embed.proj.weight"), [width, c * patch * patch]);
  const rows = dotAdd(patchify(images, grid, patch), weight, { transB: true, plus: params("patch_embed.proj.bias") });
  const seen = reshape(rows, [b, p, width]);
  const patches = mask === undefined ? seen : maskPatches(params, seen, { mask, config });
  const cls = broadcast(params("cls_token"), [b, 1, width]);
  const extra = registers === 0 ? [] : [broadcast(params(registerName), [b, registers, width])];
  if (config.positions === "rope") return concat([cls, ...extra, patches], 1);
  const placed = add(concat([cls, patches], 1), interpolatePositions(params("pos_embed"), grid, config.posInterpolation));
  if (registers === 0) return placed;
  const [first, others] = split(placed, 1, [1, p]) as [Tensor, Tensor]; // split in two
  return concat([first, ...extra, others], 1);
}

/**
 * A patch embedding for pictures of other channels: weight `[D, 3, p, p]` -> `[D, channels, p, p]`. Every channel gets the mean over red,
 * green and blue times `3 / channels`, so that a picture whose channels are all equal is embedded as the grey picture of three such channels
 * was. 3 channels keep the weight as it is. Throws ShapeError, RangeError.
 */
export function inflatePatchEmbed(weight: HostTensor, channels: number): HostTensor {
  const [d = 0, c, ...patch] = weight.shape;
  if (!(weight.data instanceof Float32Array) || weight.shape.length !== 4 || c !== 3)
    throw new ShapeError(`Cannot inflate a patch embedding of [${weight.shape.join(",")}]: it is not of RGB; give float32[D,3,p,p]`);
  if (!Number.isInteger(channels) || channels < 1)
    throw new RangeError(`Cannot inflate a patch embedding: channels is ${channels}; give a whole number from 1`);
  if (channels === 3) return { ...weight, data: weight.data.slice() };
  const [from, pixels] = [weight.data, sizeOf(patch)];
  const data = new Float32Array(d * channels * pixels);
  for (let i = 0; i < d; i++)
    for (let k = 0; k < pixels; k++) {
      const at = i * 3 * pixels + k;
      const sum = (from[at] ?? 0) + (from[at + pixels] ?? 0) + (from[at + 2 * pixels] ?? 0);
      for (let j = 0; j < channels; j++) data[(i * channels + j) * pixels + k] = sum / channels;
    }
  return { dtype: "f32", shape: [d, channels, ...patch], data };
}
