/** @file The vision transformer of DINO (2021): pre-norm blocks, class token, learned positions. DINO spec §1.6. */
import { ShapeError } from "../core/index.ts";
import {
  attention,
  concat,
  broadcast,
  dims,
  dot,
  gelu,
  reshape,
  slice,
  softmax,
  split,
  type Tensor,
  transpose,
  add,
  dotAdd,
} from "../engine/trace/index.ts";
import { linear, norm, residual } from "./layers.ts";
import { linearSpecs, normSpecs, type Params, type ParamSpec, scoped } from "./params.ts";
import { interpolatePositions, type PosInterpolation } from "./position.ts";

export interface ViTConfig {
  /** The square size at which positions are stored. */
  readonly imageSizePx: number;
  readonly patchSizePx: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlpRatio: number;
  readonly layerNormEps: number;
  readonly posInterpolation: PosInterpolation;
  /** How positions start: drawn as DINO does, or as sines and cosines (still trained). */
  readonly posEmbedInit?: "normal" | "sincos";
}

/** Keep factors of stochastic depth for a block: `[b, 1, 1]` each, undefined = keep all. */
export type DropPath = (block: number, branch: "attn" | "mlp") => Tensor | undefined;

export interface ViTOptions {
  readonly dropPath?: DropPath;
  /** `"cls"`: only the class token is wanted, so the last block works for it alone (the same numbers, less work). */
  readonly output?: "cls" | "tokens";
  /** Called with the token sequence `[b, 1 + p, d]` after embedding (0) and after each block. */
  readonly onHidden?: (index: number, tokens: Tensor) => void;
  /** Called with the attention probabilities of the last block, `[b, h, queries, tokens]`. */
  readonly onAttention?: (probabilities: Tensor) => void;
}

/** Every parameter with its published key name. */
export function vitSpecs({ imageSizePx, patchSizePx, width, depth, mlpRatio, posEmbedInit = "normal" }: ViTConfig): ParamSpec[] {
  const patches = (imageSizePx / patchSizePx) ** 2;
  const pixels = 3 * patchSizePx ** 2;
  const conv = { kind: "uniform", bound: 1 / Math.sqrt(pixels) } as const; // torch's default for convolutions
  const hidden = Math.round(width * mlpRatio);
  const token = { kind: "truncNormal", std: 0.02 } as const;
  return [
    { name: "cls_token", shape: [1, 1, width], init: token },
    {
      name: "pos_embed",
      shape: [1, 1 + patches, width],
      init: posEmbedInit === "sincos" ? { kind: "sincos", side: Math.sqrt(patches), width } : token,
    },
    { name: "patch_embed.proj.weight", shape: [width, 3, patchSizePx, patchSizePx], init: conv },
    { name: "patch_embed.proj.bias", shape: [width], init: conv },
    ...Array.from({ length: depth }, (_, i) => [
      ...normSpecs(`blocks.${i}.norm1`, width),
      ...linearSpecs(`blocks.${i}.attn.qkv`, { in: width, out: 3 * width }),
      ...linearSpecs(`blocks.${i}.attn.proj`, { in: width, out: width }),
      ...normSpecs(`blocks.${i}.norm2`, width),
      ...linearSpecs(`blocks.${i}.mlp.fc1`, { in: width, out: hidden }),
      ...linearSpecs(`blocks.${i}.mlp.fc2`, { in: hidden, out: width }),
    ]).flat(),
    ...normSpecs("norm", width),
  ];
}

/** Images `[b, 3, y, x]` -> patch rows `[b·p, 3·patch²]`, channel-major inside a patch as in a convolution's weight. */
function patchify(images: Tensor, patch: number): Tensor {
  const { b, y, x } = dims(images, "b 3 y x");
  if (y % patch !== 0 || x % patch !== 0)
    throw new ShapeError(
      `Cannot cut ${images.toString()} into patches of ${patch} px: height and width must be multiples of ${patch}; crop or resize the images`,
    );
  const [rows, columns] = [y / patch, x / patch];
  const grid = transpose(reshape(images, [b, 3, rows, patch, columns, patch]), [0, 2, 4, 1, 3, 5]);
  return reshape(grid, [b * rows * columns, 3 * patch * patch]);
}

/** Patch embedding, class token, positions: `[b, 3, y, x]` -> `[b, 1 + p, d]`. */
function embed(params: Params, images: Tensor, config: ViTConfig): Tensor {
  const { b, y, x } = dims(images, "b 3 y x");
  const { width, patchSizePx: patch } = config;
  const weight = reshape(params("patch_embed.proj.weight"), [width, 3 * patch * patch]);
  const rows = dotAdd(patchify(images, patch), weight, {
    transB: true,
    plus: params("patch_embed.proj.bias"),
  });
  const grid = { rows: y / patch, columns: x / patch };
  const tokens = concat([broadcast(params("cls_token"), [b, 1, width]), reshape(rows, [b, grid.rows * grid.columns, width])], 1);
  return add(tokens, interpolatePositions(params("pos_embed"), grid, config.posInterpolation));
}

interface Queries {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Queries, keys, values `[b, h, t, d]` of all tokens; the joint weight is laid out [3][h][d]. */
function allQueries(params: Params, n: Tensor, heads: number): Queries {
  const { b, t, d } = dims(n, "b t d");
  const qkv = reshape(linear(params, reshape(n, [b * t, d])), [b, t, 3, heads, d / heads]);
  const [q, k, v] = split(transpose(qkv, [2, 0, 3, 1, 4]), 0, [1, 1, 1]).map((x) => reshape(x, [b, heads, t, d / heads])) as [
    Tensor,
    Tensor,
    Tensor,
  ]; // split in three
  return { q, k, v };
}

/** Queries of the class token alone, keys and values of all. */
function classQueries(params: Params, n: Tensor, heads: number): Queries {
  const { b, t, d } = dims(n, "b t d");
  const [wq, wkv] = split(params("weight"), 0, [d, 2 * d]) as [Tensor, Tensor]; // split in two
  const [bq, bkv] = split(params("bias"), 0, [d, 2 * d]) as [Tensor, Tensor]; // split in two
  const q = dotAdd(reshape(slice(n, 1, [0, 1]), [b, d]), wq, { transB: true, plus: bq });
  const kv = reshape(dotAdd(reshape(n, [b * t, d]), wkv, { transB: true, plus: bkv }), [b, t, 2, heads, d / heads]);
  const [k, v] = split(transpose(kv, [2, 0, 3, 1, 4]), 0, [1, 1]).map((x) => reshape(x, [b, heads, t, d / heads])) as [Tensor, Tensor]; // split in two
  return { q: reshape(q, [b, heads, 1, d / heads]), k, v };
}

interface BlockOptions {
  readonly config: ViTConfig;
  readonly index: number;
  readonly clsOnly: boolean;
  readonly options: ViTOptions;
}

/** `x += attn(LN x)`, `x += mlp(LN x)`: `[b, t, d]` -> the same, or `[b, 1, d]` where only the class token is wanted. */
function block(params: Params, tokens: Tensor, { config, index, clsOnly, options }: BlockOptions): Tensor {
  const { heads, layerNormEps: eps, depth } = config;
  const { dropPath, onAttention } = options;
  const { b, d } = dims(tokens, "b _ d");
  const n = norm(scoped(params, "norm1."), tokens, eps);
  const qkv = scoped(params, "attn.qkv.");
  const { q, k, v } = clsOnly ? classQueries(qkv, n, heads) : allQueries(qkv, n, heads);
  const scale = (d / heads) ** -0.5;
  if (onAttention !== undefined && index === depth - 1) onAttention(softmax(dot(q, k, { transB: true, alpha: scale })));
  const t = q.shape[2] ?? 1;
  const mixed = reshape(transpose(attention(q, k, { v, scale }), [0, 2, 1, 3]), [b * t, d]);
  const attended = reshape(linear(scoped(params, "attn.proj."), mixed), [b, t, d]);
  const x = residual(clsOnly ? slice(tokens, 1, [0, 1]) : tokens, attended, dropPath?.(index, "attn"));
  const hidden = gelu(linear(scoped(params, "mlp.fc1."), reshape(norm(scoped(params, "norm2."), x, eps), [b * t, d])));
  const out = reshape(linear(scoped(params, "mlp.fc2."), hidden), [b, t, d]);
  return residual(x, out, dropPath?.(index, "mlp"));
}

/**
 * The backbone: images `[b, 3, y, x]` -> the final-normed class token `[b, d]` (`output: "cls"`), or all tokens `[b, 1 + p, d]`.
 * Each block is a region of its own, the unit of stages.
 */
export function applyViT(params: Params, images: Tensor, options: ViTOptions & { readonly config: ViTConfig }): Tensor {
  const { config, output = "tokens", onHidden } = options;
  const { builder } = images;
  let x = builder.inRegion("embed", () => embed(params, images, config));
  onHidden?.(0, x);
  for (let index = 0; index < config.depth; index++) {
    const clsOnly = output === "cls" && index === config.depth - 1;
    x = builder.inRegion(`blocks.${index}`, () => block(scoped(params, `blocks.${index}.`), x, { config, index, clsOnly, options }));
    onHidden?.(index + 1, x);
  }
  return builder.inRegion("norm", () => {
    const y = norm(scoped(params, "norm."), x, config.layerNormEps);
    return output === "cls" ? reshape(y, [y.shape[0] ?? 1, config.width]) : y;
  });
}
