/** @file Interpreter rules of convolutions and pooling: every product of a convolution is visited once. */
import type { Shape } from "../../../core/index.ts";
import type { ConvParams, Pair, SpatialOp, WindowParams } from "../types.ts";
import { cell, type Cell, type EvalTable, input } from "./rule.ts";

type Window = WindowParams & { readonly kernel: Pair };

/** The rows or columns that the window at `place` sees: where it lies in the window, and in the map. */
function seen(place: number, n: number, { k, step, around }: { k: number; step: number; around: number }): [tap: number, at: number][] {
  return Array.from({ length: k }, (_, tap): [number, number] => [tap, place * step + tap - around]).filter(([, at]) => at >= 0 && at < n);
}

/** Calls `visit` for each pixel that each window sees: places of the window `[o, i]`, of the tap and of the pixel, flat in their planes. */
function eachTap(size: Pair, places: Pair, options: { window: Window; visit: (place: number, tap: number, pixel: number) => void }): void {
  const { kernel, strides, pads } = options.window;
  const axis = (i: 0 | 1): [number, number][][] =>
    Array.from({ length: places[i] }, (_, p) => seen(p, size[i], { k: kernel[i], step: strides[i], around: pads[i] }));
  const [rows, columns] = [axis(0), axis(1)];
  rows.forEach((ys, o) =>
    columns.forEach((xs, i) => {
      for (const [ty, y] of ys) for (const [tx, x] of xs) options.visit(o * places[1] + i, ty * kernel[1] + tx, y * size[1] + x);
    }),
  );
}

const plane = (shape: Shape): Pair => [shape[2] ?? 1, shape[3] ?? 1];
const area = (shape: Shape): number => (shape[2] ?? 1) * (shape[3] ?? 1);

interface Shapes {
  readonly x: Shape;
  readonly w: Shape;
  readonly y: Shape;
}

/** Visits the flat places of every product y[b,o,·] += x[b,c,·] w[o,c,·]. */
function eachProduct({ x, w, y }: Shapes, options: { params: ConvParams; visit: (yi: number, xi: number, wi: number) => void }): void {
  const { groups, strides, pads } = options.params;
  const [b = 1, o = 1] = y;
  const [c = 1, perGroup = 1] = [x[1], w[1]];
  const taps: [number, number, number][] = [];
  const window = { kernel: plane(w), strides, pads };
  eachTap(plane(x), plane(y), { window, visit: (place, tap, pixel) => taps.push([place, tap, pixel]) });
  for (let image = 0; image < b; image++)
    for (let out = 0; out < o; out++)
      for (let part = 0; part < perGroup; part++) {
        const from = Math.floor((out * groups) / o) * perGroup + part;
        const [y0, x0, w0] = [(image * o + out) * area(y), (image * c + from) * area(x), (out * perGroup + part) * area(w)];
        for (const [place, tap, pixel] of taps) options.visit(y0 + place, x0 + pixel, w0 + tap);
      }
}

/** out[i] += a · b */
function accumulate(out: Cell, i: number, product: number): void {
  out.data[i] = (out.data[i] ?? NaN) + product;
}

function placesOf(size: Pair, { kernel, strides, pads }: Window): Pair {
  const along = (i: 0 | 1): number => Math.floor((size[i] + 2 * pads[i] - kernel[i]) / strides[i]) + 1;
  return [along(0), along(1)];
}

function conv(inputs: readonly Cell[], params: ConvParams): Cell {
  const [x, w] = [input(inputs, 0), input(inputs, 1)];
  const [b = 1, o = 1] = [x.shape[0], w.shape[0]];
  const y = cell([b, o, ...placesOf(plane(x.shape), { ...params, kernel: plane(w.shape) })]);
  const bias = inputs[2];
  if (bias !== undefined) y.data.forEach((_, i) => accumulate(y, i, bias.data[Math.floor(i / area(y.shape)) % o] ?? NaN));
  const visit = (yi: number, xi: number, wi: number): void => accumulate(y, yi, (x.data[xi] ?? NaN) * (w.data[wi] ?? NaN));
  eachProduct({ x: x.shape, w: w.shape, y: y.shape }, { params, visit });
  return y;
}

function convInputGrad(dy: Cell, w: Cell, params: ConvParams & { readonly size: Pair }): Cell {
  const dx = cell([dy.shape[0] ?? 1, (w.shape[1] ?? 1) * params.groups, ...params.size]);
  const visit = (yi: number, xi: number, wi: number): void => accumulate(dx, xi, (dy.data[yi] ?? NaN) * (w.data[wi] ?? NaN));
  eachProduct({ x: dx.shape, w: w.shape, y: dy.shape }, { params, visit });
  return dx;
}

function convWeightGrad(dy: Cell, x: Cell, params: ConvParams & { readonly kernel: Pair }): Cell {
  const dw = cell([dy.shape[1] ?? 1, (x.shape[1] ?? 1) / params.groups, ...params.kernel]);
  const visit = (yi: number, xi: number, wi: number): void => accumulate(dw, wi, (dy.data[yi] ?? NaN) * (x.data[xi] ?? NaN));
  eachProduct({ x: x.shape, w: dw.shape, y: dy.shape }, { params, visit });
  return dw;
}

/** For each place of the window, the flat place of its largest pixel in x, the first of equal ones. */
function winners(x: Cell, window: Window): { readonly shape: Shape; readonly at: readonly number[] } {
  const [b = 1, c = 1] = x.shape;
  const places = placesOf(plane(x.shape), window);
  const shape = [b, c, ...places];
  const at = Array.from({ length: b * c }, (_, map) => {
    const best = Array<number>(places[0] * places[1]).fill(-1);
    const visit = (place: number, _tap: number, pixel: number): void => {
      const candidate = map * area(x.shape) + pixel;
      const sofar = best[place] ?? -1;
      if (sofar < 0 || (x.data[candidate] ?? NaN) > (x.data[sofar] ?? NaN)) best[place] = candidate;
    };
    eachTap(plane(x.shape), places, { window, visit });
    return best;
  });
  return { shape, at: at.flat() };
}

export const SPATIAL: EvalTable<SpatialOp> = {
  conv: (inputs, params) => [conv(inputs, params)],
  convInputGrad: (inputs, params) => [convInputGrad(input(inputs, 0), input(inputs, 1), params)],
  convWeightGrad: (inputs, params) => [convWeightGrad(input(inputs, 0), input(inputs, 1), params)],
  maxPool: (inputs, params) => {
    const x = input(inputs, 0);
    const { shape, at } = winners(x, params);
    return [{ shape, data: Float64Array.from(at, (i) => x.data[i] ?? NaN) }];
  },
  maxPoolGrad: (inputs, params) => {
    const [dy, x] = [input(inputs, 0), input(inputs, 1)];
    const dx = cell(x.shape);
    winners(x, params).at.forEach((to, i) => accumulate(dx, to, dy.data[i] ?? NaN));
    return [dx];
  },
};
