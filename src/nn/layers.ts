/** @file Layers that every model shares. Rows are the unit: `x` is `[rows, width]`. */
import { add, dotAdd, layerNorm, mul, type Tensor } from "../engine/trace/index.ts";
import type { Params } from "./params.ts";

/** `x Wᵀ + b`: x `[rows, in]`, W `[out, in]` -> `[rows, out]`. */
export function linear(params: Params, x: Tensor): Tensor {
  return dotAdd(x, params("weight"), { transB: true, plus: params("bias") });
}

/** Layer norm over the last axis. */
export function norm(params: Params, x: Tensor, eps: number): Tensor {
  return layerNorm(x, params("weight"), { bias: params("bias"), eps });
}

/** Residual sum with stochastic depth: `x + keep · branch`, `keep` a draw per sample (0 or 1/(1−p)), broadcastable to `x`. */
export function residual(x: Tensor, branch: Tensor, keep: Tensor | undefined): Tensor {
  return add(x, keep === undefined ? branch : mul(branch, keep));
}
