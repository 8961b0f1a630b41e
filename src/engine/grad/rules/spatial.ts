/** @file VJP rules of convolutions and pooling. */
import type { Pair, SpatialOp } from "../../ir/index.ts";
import { reduceSum, type Tensor } from "../../trace/index.ts";
import { at, NOT_TWICE, type VjpTable } from "./rule.ts";

function plane(x: Tensor): Pair {
  return [x.shape[2] ?? 1, x.shape[3] ?? 1];
}

export const SPATIAL: VjpTable<SpatialOp> = {
  conv: ({ inputs, grads, params }) => {
    const [x, w, dy] = [at(inputs, 0), at(inputs, 1), at(grads, 0)];
    return [
      () => dy.builder.op("convInputGrad", [dy, w], { ...params, size: plane(x) }),
      () => dy.builder.op("convWeightGrad", [dy, x], { ...params, kernel: plane(w) }),
      () => reduceSum(dy, [0, 2, 3]), // of the bias, where there is one
    ];
  },
  convInputGrad: NOT_TWICE,
  convWeightGrad: NOT_TWICE,
  maxPool: ({ inputs, grads, params }) => [() => at(grads, 0).builder.op("maxPoolGrad", [at(grads, 0), at(inputs, 0)], params)],
  maxPoolGrad: NOT_TWICE,
};
