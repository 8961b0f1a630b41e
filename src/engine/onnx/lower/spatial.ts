/** @file Lowering of convolutions, their gradients, and pooling. */
import { sizeOf } from "../../../core/index.ts";
import type { ConvParams, Node, Pair, SpatialOp, WindowParams } from "../../ir/index.ts";
import { arg, type Lowering, type LowerTable } from "./context.ts";
import { addAtIndices } from "./scatter.ts";

/** Columns of one chunk of images: 32 MiB of float32 (and as much again while they are joined). */
const CHUNK_COLUMNS = 2 ** 23;
/** "To the very start" of an axis that is read backwards. */
const BEFORE_START = -(2 ** 40);

function windowAttrs({ strides, pads }: WindowParams) {
  return { strides: { ints: strides }, pads: { ints: [...pads, ...pads] } } as const;
}

function convAttrs(params: ConvParams) {
  return { ...windowAttrs(params), group: { int: params.groups } } as const;
}

function plane(shape: readonly number[]): Pair {
  return [shape[2] ?? 1, shape[3] ?? 1];
}

/** dx of stride 1 as a convolution: of dy, by kernels turned half around, with what is left of the window as padding. */
function asConv(node: Node<"convInputGrad">, to: Lowering, kernel: string): string {
  const [ky, kx] = plane(arg(node, 1).shape);
  const [py, px] = node.params.pads;
  return to.emit("Conv", [to.name(arg(node, 0)), kernel], { attrs: convAttrs({ ...node.params, pads: [ky - 1 - py, kx - 1 - px] }) });
}

/**
 * Depthwise, stride 1: a Conv with flipped kernels, which is faster than ConvTranspose. 1 × 1, stride 1: a Conv with the transposed matrix.
 * All else: ConvTranspose, whose weights have our layout as they are.
 */
function convInputGrad(node: Node<"convInputGrad">, to: Lowering): readonly string[] {
  const [dy, w] = node.inputs.map((v) => to.name(v)) as [string, string]; // two, by its shape rule
  const { params } = node;
  const { strides, pads, groups, size } = params;
  const kernel = plane(arg(node, 1).shape);
  const single = strides[0] === 1 && strides[1] === 1;
  if (single && kernel[0] === 1 && kernel[1] === 1)
    return [asConv(node, to, groups > 1 ? w : to.emit("Transpose", [w], { attrs: { perm: { ints: [1, 0, 2, 3] } } }))];
  if (single && groups > 1) {
    const back = (n: number): string => to.i64([n, n]);
    return [asConv(node, to, to.emit("Slice", [w, back(-1), back(BEFORE_START), to.i64([2, 3]), back(-1)]))];
  }
  const left = (i: 0 | 1): number => (size[i] + 2 * pads[i] - kernel[i]) % strides[i]; // rows that no window reaches
  return [to.emit("ConvTranspose", [dy, w], { attrs: { ...convAttrs(params), output_padding: { ints: [left(0), left(1)] } } })];
}

/** Every second image and channel is a map of its own: dw[b,c] is x[b,c] correlated with dy[b,c], summed over images. */
function depthwiseWeightGrad(node: Node<"convWeightGrad">, to: Lowering): readonly string[] {
  const [dy, x] = [arg(node, 0), arg(node, 1)];
  const [b = 1, c = 1] = x.shape;
  const { strides, pads, kernel } = node.params;
  const maps = to.emit("Reshape", [to.name(x), to.i64([1, b * c, ...plane(x.shape)])]);
  const kernels = to.emit("Reshape", [to.name(dy), to.i64([b * c, 1, ...plane(dy.shape)])]);
  const attrs = { group: { int: b * c }, pads: { ints: [...pads, ...pads] }, dilations: { ints: strides } };
  const taps = to.emit("Conv", [maps, kernels], { attrs });
  // rows that no window reaches give taps beyond the kernel
  const own = to.emit("Slice", [taps, to.i64([0, 0]), to.i64(kernel), to.i64([2, 3])]);
  const perImage = to.emit("Reshape", [own, to.i64([b, c, 1, ...kernel])]);
  return [to.emit("ReduceSum", [perImage, to.i64([0])], { attrs: { keepdims: { int: 0 } } })];
}

interface Columns {
  readonly images: number;
  readonly x: readonly number[];
  readonly places: Pair;
  readonly params: Node<"convWeightGrad">["params"];
}

/** im2col: maps `[images, c, y, x]` -> `[c · ky · kx, images · oy · ox]`, a row for each tap of the kernel, channel by channel. */
function columnsOf(to: Lowering, maps: string, { images, x, places, params }: Columns): string {
  const { kernel, strides, pads } = params;
  const [, c = 1] = x;
  const around = [0, 0, ...pads];
  const padded = pads[0] + pads[1] === 0 ? maps : to.emit("Pad", [maps, to.i64([...around, ...around])]);
  const byChannel = to.emit("Transpose", [padded], { attrs: { perm: { ints: [1, 0, 2, 3] } } });
  const row = to.i64([c, 1, images * places[0] * places[1]]);
  const last = (tap: number, i: 0 | 1): number => tap + (places[i] - 1) * strides[i] + 1;
  const taps = Array.from({ length: kernel[0] * kernel[1] }, (_, tap) => {
    const [ty, tx] = [Math.floor(tap / kernel[1]), tap % kernel[1]];
    if (kernel.every((k) => k === 1) && strides.every((n) => n === 1)) return to.emit("Reshape", [byChannel, row]); // the whole map
    const seen = [byChannel, to.i64([ty, tx]), to.i64([last(ty, 0), last(tx, 1)]), to.i64([2, 3]), to.i64(strides)];
    return to.emit("Reshape", [to.emit("Slice", seen), row]);
  });
  const joined = taps.length === 1 ? (taps[0] ?? "") : to.emit("Concat", taps, { attrs: { axis: { int: 1 } } });
  return to.emit("Reshape", [joined, to.i64([c * taps.length, images * places[0] * places[1]])]);
}

/** How many images go through im2col together; one entry where all do. */
export function imageChunks(images: number, columnsPerImage: number): number[] {
  const most = Math.min(images, Math.max(1, Math.floor(CHUNK_COLUMNS / columnsPerImage)));
  return Array.from({ length: Math.ceil(images / most) }, (_, i) => Math.min(most, images - i * most));
}

function inChunks(to: Lowering, name: string, chunks: readonly number[]): readonly string[] {
  if (chunks.length === 1) return [name];
  return to.emitAll("Split", [name, to.i64(chunks)], { attrs: { axis: { int: 0 } }, outputs: chunks.length });
}

/**
 * dw = dy columnsᵀ, images being part of the contracted axis; chunk by chunk, each product adding to the last (Gemm's C).
 * All columns are named before the first product: ONNX Runtime walks back from the output and takes the younger input first,
 * so that it makes the columns of a chunk just before their product.
 */
function denseWeightGrad(node: Node<"convWeightGrad">, to: Lowering): readonly string[] {
  const [dy, x] = [arg(node, 0), arg(node, 1)];
  const [b = 1, o = 1] = dy.shape;
  const places = plane(dy.shape);
  const [c = 1] = x.shape.slice(1);
  const chunks = imageChunks(b, c * sizeOf(node.params.kernel) * sizeOf(places));
  const maps = inChunks(to, to.name(x), chunks);
  const cotangents = inChunks(to, to.name(dy), chunks);
  const operands = chunks.map((images, i) => {
    const byOutput = to.emit("Transpose", [cotangents[i] ?? ""], { attrs: { perm: { ints: [1, 0, 2, 3] } } });
    const rows = to.emit("Reshape", [byOutput, to.i64([o, images * sizeOf(places)])]);
    return [rows, columnsOf(to, maps[i] ?? "", { images, x: x.shape, places, params: node.params })];
  });
  const product = operands.reduce<string | undefined>(
    (sofar, pair) => to.emit("Gemm", sofar === undefined ? pair : [...pair, sofar], { attrs: { transB: { int: 1 } } }),
    undefined,
  );
  return [to.emit("Reshape", [product ?? "", to.i64([o, c, ...node.params.kernel])])];
}

export const SPATIAL: LowerTable<SpatialOp> = {
  conv: (node, to) => [
    to.emit(
      "Conv",
      node.inputs.map((v) => to.name(v)),
      { attrs: convAttrs(node.params) },
    ),
  ],
  convInputGrad,
  convWeightGrad: (node, to) => (node.params.groups > 1 ? depthwiseWeightGrad(node, to) : denseWeightGrad(node, to)),
  maxPool: (node, to) => {
    const attrs = { ...windowAttrs(node.params), kernel_shape: { ints: node.params.kernel } };
    return [to.emit("MaxPool", [to.name(arg(node, 0))], { attrs })];
  },
  // MaxPool's second output says where each maximum lies, flat in x
  maxPoolGrad: (node, to) => {
    const [dy, x] = [arg(node, 0), arg(node, 1)];
    const attrs = { ...windowAttrs(node.params), kernel_shape: { ints: node.params.kernel } };
    const [, at = ""] = to.emitAll("MaxPool", [to.name(x)], { attrs, outputs: 2 });
    const flat = (name: string): string => to.emit("Reshape", [name, to.i64([-1])]);
    const dx = addAtIndices(to, { updates: flat(to.name(dy)), indices: flat(at), shape: [sizeOf(x.shape)], dtype: x.dtype });
    return [to.emit("Reshape", [dx, to.i64(x.shape)])];
  },
};
