/** @file Layers that every model shares. Rows are the unit: `x` is `[rows, width]`. */
import { add, dot, dotAdd, layerNorm, mul, reduceSumSquare, rsqrt, split, type Tensor } from "../engine/trace/index.ts";
import type { LowRank, Params } from "./params.ts";

/** A linear layer's tensors: weight `[out, in]`, bias `[out]` if it has one, a low-rank addition if it is adapted. */
export interface LinearTensors {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly lowRank: LowRank | undefined;
}

/** The layer below `params`; `bias` stands in for its own, `"none"` for a layer without. */
export function linearTensors(params: Params, bias?: Tensor | "none"): LinearTensors {
  return {
    weight: params("weight"),
    bias: bias === "none" ? undefined : (bias ?? params("bias")),
    lowRank: params.lowRank?.(""),
  };
}

/** The layer cut into layers of `sizes` outputs each. */
export function splitOutputs({ weight, bias, lowRank }: LinearTensors, sizes: readonly number[]): LinearTensors[] {
  const biases = bias === undefined ? [] : split(bias, 0, sizes);
  const ups = lowRank === undefined ? [] : split(lowRank.up, 0, sizes);
  return split(weight, 0, sizes).map((part, i) => {
    const up = ups[i];
    return { weight: part, bias: biases[i], lowRank: lowRank === undefined || up === undefined ? undefined : { ...lowRank, up } };
  });
}

/** `x Wᵀ + b + s (x Aᵀ) Bᵀ`, the last term where the layer is adapted: x `[rows, in]` -> `[rows, out]`. */
export function applyLinear({ weight, bias, lowRank }: LinearTensors, x: Tensor): Tensor {
  const y = bias === undefined ? dot(x, weight, { transB: true }) : dotAdd(x, weight, { transB: true, plus: bias });
  if (lowRank === undefined) return y;
  const { down, up, scale } = lowRank;
  return dotAdd(dot(x, down, { transB: true }), up, { transB: true, alpha: scale, plus: y });
}

/** `x Wᵀ + b`: x `[rows, in]`, W `[out, in]` -> `[rows, out]`. */
export function linear(params: Params, x: Tensor): Tensor {
  return applyLinear(linearTensors(params), x);
}

/** Layer norm over the last axis. */
export function norm(params: Params, x: Tensor, eps: number): Tensor {
  return layerNorm(x, params("weight"), { bias: params("bias"), eps });
}

/** `x / sqrt(mean x² + eps) · w` over the last axis. DINOv3 spec §3.1. */
export function rmsNorm(params: Params, x: Tensor, eps: number): Tensor {
  const axis = x.shape.length - 1;
  const mean = mul(reduceSumSquare(x, [axis], true), 1 / (x.shape[axis] ?? 1));
  return mul(mul(x, rsqrt(add(mean, eps))), params("weight"));
}

/** Residual sum with stochastic depth: `x + keep · branch`, `keep` a draw per sample (0 or 1/(1−p)), broadcastable to `x`. */
export function residual(x: Tensor, branch: Tensor, keep: Tensor | undefined): Tensor {
  return add(x, keep === undefined ? branch : mul(branch, keep));
}
