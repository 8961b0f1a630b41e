/** @file A pre-norm transformer block with LayerScale and stochastic depth. DINO spec §1.6, §2.3. */
import { ShapeError } from "../core/index.ts";
import { add, dims, gather, mul, reshape, scatterAdd, slice, Tensor } from "../engine/trace/index.ts";
import { applyAttention, type AttentionOptions } from "./attention.ts";
import { applyFfn } from "./ffn.ts";
import { norm, residual, rmsNorm } from "./layers.ts";
import { type Params, scoped } from "./params.ts";
import type { ViTConfig } from "./vit-config.ts";

/** The samples whose residual branch is computed, int32 `[s]` without repeats; it is scaled by `b/s`. DINOv2 spec §2.3. */
export interface Subset {
  readonly rows: Tensor;
  readonly scale: number;
}

/** Samples of a branch and their factor for a drop rate: `max(⌊b (1 − rate)⌋, 1)`, `b/s`. Throws RangeError. DINOv2 spec §2.3. */
export function dropSubset(batch: number, rate: number): { readonly size: number; readonly scale: number } {
  if (!Number.isInteger(batch) || batch < 1 || !(rate >= 0 && rate < 1))
    throw new RangeError(`Cannot drop a part of a batch: batch ${batch}, rate ${rate}; give a batch from 1 and a rate from 0 to below 1`);
  const size = Math.max(Math.floor(batch * (1 - rate)), 1);
  return { size, scale: batch / size };
}

/** How a block's residual branch is dropped: keep factors `[b, 1, 1]`, a subset of the batch, or undefined = keep all. */
export type Drop = Tensor | Subset | undefined;

export interface BlockOptions extends AttentionOptions {
  readonly drop: (branch: "attn" | "mlp") => Drop;
}

/** The configuration's norm over the last axis. */
export function normOf(params: Params, x: Tensor, { norm: kind = "layernorm", layerNormEps: eps }: ViTConfig): Tensor {
  return kind === "rmsnorm" ? rmsNorm(params, x, eps) : norm(params, x, eps);
}

interface Branch {
  readonly of: (x: Tensor) => Tensor;
  /** What the branch is added to. */
  readonly onto: Tensor;
  readonly drop: Drop;
}

/** `onto + branch(x)` with stochastic depth; a subset computes the branch for its samples only. */
function addBranch(x: Tensor, { of, onto, drop }: Branch): Tensor {
  if (drop === undefined || drop instanceof Tensor) return residual(onto, of(x), drop);
  const { b } = dims(x, "b _ _");
  const { rows, scale } = drop;
  if (rows.dtype !== "i32" || rows.shape.length !== 1 || (rows.shape[0] ?? 0) > b)
    throw new ShapeError(`Cannot drop to the samples ${rows.toString()}: the batch has ${b}; give int32[s] with s from 1 to ${b}`);
  return add(onto, scatterAdd(mul(of(gather(x, rows, { unique: true })), scale), rows, { rows: b, unique: true }));
}

/** `x += ls1 · attn(norm x)`, `x += ls2 · ffn(norm x)`: `[b, t, d]` -> the same, or `[b, 1, d]` where only the class token is wanted. */
export function applyBlock(params: Params, tokens: Tensor, options: BlockOptions): Tensor {
  const { config, clsOnly, drop } = options;
  const scaled = (x: Tensor, name: string): Tensor => (config.layerScale === undefined ? x : mul(x, params(`${name}.gamma`)));
  const x = addBranch(tokens, {
    of: (t) => scaled(applyAttention(scoped(params, "attn."), normOf(scoped(params, "norm1."), t, config), options), "ls1"),
    onto: clsOnly ? slice(tokens, 1, [0, 1]) : tokens,
    drop: drop("attn"),
  });
  return addBranch(x, {
    of: (t) => {
      const { b, n, d } = dims(t, "b n d");
      const rows = reshape(normOf(scoped(params, "norm2."), t, config), [b * n, d]);
      return scaled(reshape(applyFfn(scoped(params, "mlp."), rows, config.ffn), [b, n, d]), "ls2");
    },
    onto: x,
    drop: drop("mlp"),
  });
}
