/** @file AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019), elementwise. */
import type { Ops } from "./ops.ts";

/** One element: the parameter, its gradient, the running means of gradient and squared gradient. */
export interface AdamWElement<T> {
  readonly param: T;
  readonly grad: T;
  readonly mean: T;
  readonly square: T;
}

/** What is equal for all elements of a parameter, in the order kernels take it. */
export interface AdamWScalars<T> {
  /** Clip coefficient on the gradient. */
  readonly clip: T;
  /** 1 − lr·weightDecay. */
  readonly keep: T;
  /** lr / (1 − β1^t). */
  readonly stepSize: T;
  /** 1 / √(1 − β2^t). */
  readonly rootScale: T;
  /** 1 − β1. */
  readonly beta1Rest: T;
  readonly beta2: T;
  /** 1 − β2. */
  readonly beta2Rest: T;
  readonly eps: T;
}

export interface AdamWConfig {
  readonly kind: "adamw";
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

/** DINO's and PyTorch's constants. */
export const ADAMW_DEFAULTS: AdamWConfig = { kind: "adamw", beta1: 0.9, beta2: 0.999, eps: 1e-8 };

/** The scalars of step `t` (the parameter's own count, from 1). `weightDecay` 0 where the parameter is not decayed. */
export function adamwScalars(
  config: AdamWConfig,
  step: { readonly clip: number; readonly lr: number; readonly weightDecay: number; readonly t: number },
): AdamWScalars<number> {
  const { beta1, beta2, eps } = config;
  return {
    clip: step.clip,
    keep: 1 - step.lr * step.weightDecay,
    stepSize: step.lr / (1 - beta1 ** step.t),
    rootScale: 1 / Math.sqrt(1 - beta2 ** step.t),
    beta1Rest: 1 - beta1,
    beta2,
    beta2Rest: 1 - beta2,
    eps,
  };
}

/**
 * m ← m + (1−β1)(g − m); v ← β2 v + (1−β2) g²; p ← p(1 − lr·wd) − lr/(1−β1ᵗ) · m / (√v/√(1−β2ᵗ) + ε).
 * The order of operations is that of `torch.optim.AdamW`.
 */
export function adamw<T>(ops: Ops<T>, x: AdamWElement<T>, s: AdamWScalars<T>): Omit<AdamWElement<T>, "grad"> {
  const grad = ops.mul(x.grad, s.clip);
  const mean = ops.add(x.mean, ops.mul(s.beta1Rest, ops.sub(grad, x.mean)));
  const square = ops.add(ops.mul(s.beta2, x.square), ops.mul(s.beta2Rest, ops.mul(grad, grad)));
  const root = ops.add(ops.mul(ops.sqrt(square), s.rootScale), s.eps);
  const param = ops.sub(ops.mul(x.param, s.keep), ops.mul(s.stepSize, ops.div(mean, root)));
  return { param, mean, square };
}
