/** @file SGD with momentum and coupled weight decay, elementwise; LARS is the same update with a trust ratio. */
import type { Ops } from "./ops.ts";

export interface MomentumElement<T> {
  readonly param: T;
  readonly grad: T;
  readonly mean: T;
}

/** What is equal for all elements of a parameter, in the order kernels take it. */
export interface MomentumScalars<T> {
  /** Clip coefficient on the gradient. */
  readonly clip: T;
  readonly weightDecay: T;
  /** LARS's layer-wise factor; 1 in SGD. */
  readonly trust: T;
  readonly lr: T;
  readonly momentum: T;
}

export interface SgdConfig {
  readonly kind: "sgd";
  readonly momentum: number;
}

/** DINO's constants for `--optimizer sgd`. */
export const SGD_DEFAULTS: SgdConfig = { kind: "sgd", momentum: 0.9 };

/** d = (clip·g + wd·p)·trust; buf ← μ·buf + d; p ← p − lr·buf. As `torch.optim.SGD` when trust is 1. */
export function momentumUpdate<T>(ops: Ops<T>, x: MomentumElement<T>, s: MomentumScalars<T>): Omit<MomentumElement<T>, "grad"> {
  const decayed = ops.add(ops.mul(x.grad, s.clip), ops.mul(s.weightDecay, x.param));
  const mean = ops.add(ops.mul(s.momentum, x.mean), ops.mul(decayed, s.trust));
  return { param: ops.sub(x.param, ops.mul(s.lr, mean)), mean };
}
