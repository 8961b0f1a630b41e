/** @file Shape rules of convolutions and pooling over maps `[b, c, y, x]`. */
import { sameShape, type Shape } from "../../../core/index.ts";
import type { ConvParams, OpName, Pair, SpatialOp, ValueType, WindowParams } from "../types.ts";
import { arity, dim, fail, floats, type InferRule, type InferTable, sameDtype, show } from "./rule.ts";

/** What a window rule is about, for its errors. */
interface Subject {
  readonly op: OpName;
  readonly inputs: readonly ValueType[];
}

function needMaps({ op, inputs }: Subject, maps: readonly ValueType[]): void {
  sameDtype(op, inputs);
  floats(op, inputs);
  if (maps.some((t) => t.shape.length !== 4)) fail(op, inputs, "one has not four axes; maps are [batch, channel, y, x]");
}

/** How many places the window has on each axis of a map of `size`. */
function places({ op, inputs }: Subject, size: Pair, window: WindowParams & { readonly kernel: Pair }): Pair {
  const along = (i: 0 | 1): number => {
    const [n, k, step, around] = [size[i], window.kernel[i], window.strides[i], window.pads[i]];
    if (!Number.isInteger(k) || k < 1) fail(op, inputs, `a window of ${k} is none; its sizes are whole numbers of 1 or more`);
    if (!Number.isInteger(step) || step < 1)
      fail(op, inputs, `a stride of ${step} does not move on; strides are whole numbers of 1 or more`);
    if (!Number.isInteger(around) || around < 0 || around >= k)
      fail(op, inputs, `a padding of ${around} does not fit a window of ${k}; use 0 to ${k - 1}`);
    if (n + 2 * around < k) fail(op, inputs, `a window of ${k} does not fit into ${n} with padding ${around}; enlarge the map`);
    return Math.floor((n + 2 * around - k) / step) + 1;
  };
  return [along(0), along(1)];
}

/** The shape that weights `w` make of a map `x`. */
function convShape(subject: Subject, [x, w]: readonly [Shape, Shape], params: ConvParams): Shape {
  const { op, inputs } = subject;
  const [b = 1, c = 1, y = 1, columns = 1] = x;
  const [o = 1, perGroup = 1, ky = 1, kx = 1] = w;
  const { groups } = params;
  if (groups !== 1 && (groups !== c || groups !== o))
    fail(op, inputs, `${groups} groups of ${c} channels to ${o} are neither dense nor depthwise; use 1, or one a channel`);
  if (perGroup * groups !== c)
    fail(op, inputs, `weights for ${perGroup * groups} channels meet ${c}; make them [out, ${c / groups}, y, x]`);
  return [b, o, ...places(subject, [y, columns], { ...params, kernel: [ky, kx] })];
}

const conv: InferRule<"conv"> = (inputs, params) => {
  const subject: Subject = { op: "conv", inputs };
  if (inputs.length !== 3) arity("conv", inputs, 2);
  const [x, w, bias] = inputs as readonly [ValueType, ValueType, ValueType?]; // counted above
  needMaps(subject, [x, w]);
  const shape = convShape(subject, [x.shape, w.shape], params);
  if (bias !== undefined && !sameShape(bias.shape, [dim(w, 0)])) fail("conv", inputs, `the bias does not fit; make it [${dim(w, 0)}]`);
  return [{ dtype: x.dtype, shape }];
};

function checkCotangent(subject: Subject, dy: ValueType, want: Shape): void {
  if (!sameShape(dy.shape, want))
    fail(subject.op, subject.inputs, `the cotangent does not fit; pass that of ${show({ dtype: dy.dtype, shape: want })}`);
}

const convInputGrad: InferRule<"convInputGrad"> = (inputs, params) => {
  const [dy, w] = arity("convInputGrad", inputs, 2);
  const subject: Subject = { op: "convInputGrad", inputs };
  needMaps(subject, [dy, w]);
  const shape = [dim(dy, 0), dim(w, 1) * params.groups, ...params.size];
  checkCotangent(subject, dy, convShape(subject, [shape, w.shape], params));
  return [{ dtype: dy.dtype, shape }];
};

const convWeightGrad: InferRule<"convWeightGrad"> = (inputs, params) => {
  const [dy, x] = arity("convWeightGrad", inputs, 2);
  const subject: Subject = { op: "convWeightGrad", inputs };
  needMaps(subject, [dy, x]);
  const shape = [dim(dy, 1), dim(x, 1) / params.groups, ...params.kernel];
  checkCotangent(subject, dy, convShape(subject, [x.shape, shape], params));
  return [{ dtype: dy.dtype, shape }];
};

function poolShape(subject: Subject, x: ValueType, params: WindowParams & { readonly kernel: Pair }): Shape {
  return [dim(x, 0), dim(x, 1), ...places(subject, [dim(x, 2), dim(x, 3)], params)];
}

const maxPool: InferRule<"maxPool"> = (inputs, params) => {
  const [x] = arity("maxPool", inputs, 1);
  const subject: Subject = { op: "maxPool", inputs };
  needMaps(subject, [x]);
  return [{ dtype: x.dtype, shape: poolShape(subject, x, params) }];
};

const maxPoolGrad: InferRule<"maxPoolGrad"> = (inputs, params) => {
  const [dy, x] = arity("maxPoolGrad", inputs, 2);
  const subject: Subject = { op: "maxPoolGrad", inputs };
  needMaps(subject, [dy, x]);
  checkCotangent(subject, dy, poolShape(subject, x, params));
  return [{ dtype: x.dtype, shape: x.shape }];
};

export const SPATIAL: InferTable<SpatialOp> = { conv, convInputGrad, convWeightGrad, maxPool, maxPoolGrad };
