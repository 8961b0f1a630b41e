/** @file Self-attention of a block: joint projection, rotary positions, and the short form for the class token alone. DINO spec §1.6, §3.1. */
import { attention, constant, dims, dot, mul, reshape, slice, softmax, split, type Tensor, transpose } from "../engine/trace/index.ts";
import { applyLinear, linear, type LinearTensors, linearTensors, splitOutputs } from "./layers.ts";
import { type Params, scoped } from "./params.ts";
import { rotate, type Rotation } from "./rotary.ts";
import { headDim, type ViTConfig } from "./vit-config.ts";

interface Queries {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

export interface AttentionOptions {
  readonly config: ViTConfig;
  /** Whether only the class token asks. */
  readonly clsOnly: boolean;
  readonly rotation: Rotation | undefined;
  readonly onAttention: ((probabilities: Tensor) => void) | undefined;
}

/** The joint layer; with `keyBiasMask` the key third of its bias counts as zero, and so does its gradient. */
function joint(params: Params, { qkvBias = true, keyBiasMask = false, width }: ViTConfig): LinearTensors {
  if (!qkvBias) return linearTensors(params, "none");
  if (!keyBiasMask) return linearTensors(params);
  const bias = params("bias");
  const mask = constant(bias.builder, [3, 1], Float32Array.of(1, 0, 1));
  return linearTensors(params, reshape(mul(reshape(bias, [3, width]), mask), [3 * width]));
}

/** Rows `[b·t, parts·d]` -> `parts` of `[b, h, t, d/h]`; a row is laid out [parts][h][d/h]. */
function byHead(rows: Tensor, { b, parts, config }: { readonly b: number; readonly parts: number; readonly config: ViTConfig }): Tensor[] {
  const [h, e] = [config.heads, headDim(config)];
  const t = (rows.shape[0] ?? b) / b;
  const grouped = transpose(reshape(rows, [b, t, parts, h, e]), [2, 0, 3, 1, 4]);
  return split(grouped, 0, Array<number>(parts).fill(1)).map((x) => reshape(x, [b, h, t, e]));
}

/** Queries, keys, values `[b, h, t, d/h]` of all tokens. */
function allQueries(layer: LinearTensors, n: Tensor, config: ViTConfig): Queries {
  const { b, t, d } = dims(n, "b t d");
  const [q, k, v] = byHead(applyLinear(layer, reshape(n, [b * t, d])), { b, parts: 3, config }) as [Tensor, Tensor, Tensor]; // three parts
  return { q, k, v };
}

/** Queries of the class token alone, keys and values of all. */
function classQueries(layer: LinearTensors, n: Tensor, config: ViTConfig): Queries {
  const { b, t, d } = dims(n, "b t d");
  const [forQ, forKV] = splitOutputs(layer, [d, 2 * d]) as [LinearTensors, LinearTensors]; // split in two
  const q = applyLinear(forQ, reshape(slice(n, 1, [0, 1]), [b, d]));
  const [k, v] = byHead(applyLinear(forKV, reshape(n, [b * t, d])), { b, parts: 2, config }) as [Tensor, Tensor]; // two parts
  return { q: reshape(q, [b, config.heads, 1, headDim(config)]), k, v };
}

/** Turns queries and keys; the class token stays as it is, so alone it asks unturned. */
function turn({ q, k, v }: Queries, rotation: Rotation | undefined): Queries {
  if (rotation === undefined) return { q, k, v };
  return { q: q.shape[2] === k.shape[2] ? rotate(q, rotation) : q, k: rotate(k, rotation), v };
}

/** `proj(softmax(q kᵀ / √(d/h)) v)`: normed tokens `[b, t, d]` -> `[b, t, d]`, or `[b, 1, d]` where only the class token asks. */
export function applyAttention(params: Params, n: Tensor, { config, clsOnly, rotation, onAttention }: AttentionOptions): Tensor {
  const { b, d } = dims(n, "b _ d");
  const layer = joint(scoped(params, "qkv."), config);
  const { q, k, v } = turn((clsOnly ? classQueries : allQueries)(layer, n, config), rotation);
  const scale = headDim(config) ** -0.5;
  onAttention?.(softmax(dot(q, k, { transB: true, alpha: scale })));
  const t = q.shape[2] ?? 1;
  const mixed = reshape(transpose(attention(q, k, { v, scale }), [0, 2, 1, 3]), [b * t, d]);
  return reshape(linear(scoped(params, "proj."), mixed), [b, t, d]);
}
