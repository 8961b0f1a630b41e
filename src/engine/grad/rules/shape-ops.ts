/** @file VJP rules of ops that move values: each is the transpose of the move. */
import type { ShapeOp } from "../../ir/index.ts";
import { broadcast, concat, gather, mul, reshape, scalar, scatterAdd, split, type Tensor, transpose } from "../../trace/index.ts";
import { at, NO_GRADIENT, unbroadcast, type VjpTable } from "./rule.ts";

function zeros(like: Tensor): Tensor {
  return broadcast(scalar(like.builder, 0, like.dtype), like.shape);
}

export const SHAPE_OPS: VjpTable<ShapeOp> = {
  constant: NO_GRADIENT,
  iota: NO_GRADIENT,
  reshape: ({ inputs, grads }) => [() => reshape(at(grads, 0), at(inputs, 0).shape)],
  transpose: ({ grads, params }) => [
    () =>
      transpose(
        at(grads, 0),
        params.perm.map((_, i) => params.perm.indexOf(i)),
      ),
  ],
  broadcast: ({ inputs, grads }) => [() => unbroadcast(at(grads, 0), at(inputs, 0).shape)],
  slice: ({ inputs, grads, params }) => [
    () =>
      at(grads, 0).builder.op("pad", [at(grads, 0)], {
        low: params.starts,
        high: at(inputs, 0).shape.map((d, i) => d - (params.limits[i] ?? d)),
      }),
  ],
  pad: ({ inputs, grads, params }) => [
    () =>
      at(grads, 0).builder.op("slice", [at(grads, 0)], {
        starts: params.low,
        limits: at(inputs, 0).shape.map((d, i) => d + (params.low[i] ?? 0)),
      }),
  ],
  concat: ({ inputs, grads, params }) => {
    let parts: Tensor[] | undefined;
    const sizes = inputs.map((x) => x.shape[params.axis] ?? 1);
    return inputs.map((_, i) => () => at((parts ??= split(at(grads, 0), params.axis, sizes)), i));
  },
  split: ({ outputs, grads, params }) => [
    () => {
      const [first, ...rest] = outputs.map((y, i) => grads[i] ?? zeros(y));
      return first === undefined ? mul(at(grads, 0), 1) : concat([first, ...rest], params.axis);
    },
  ],
  gather: ({ inputs, grads, params }) => [
    () => scatterAdd(at(grads, 0), at(inputs, 1), { rows: at(inputs, 0).shape[0] ?? 1, ...params }),
    undefined,
  ],
  scatterAdd: ({ inputs, grads, params: { unique = false } }) => [() => gather(at(grads, 0), at(inputs, 1), { unique }), undefined],
};
