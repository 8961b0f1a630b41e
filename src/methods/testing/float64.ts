/** @file For tests of whole steps in float64: values drawn by name, parameters off their constants, and a graph run on them. */
import { Rng, sizeOf } from "../../core/index.ts";
import { type Cell, type Graph, interpret } from "../../engine/ir/index.ts";
import { initParam, type ParamSpec } from "../../nn/index.ts";
import type { Rows } from "./plain-losses.ts";

export type Values = Map<string, ArrayLike<number>>;

/** Normal values; each name has its own. */
export function draw(name: string, shape: readonly number[]): Float64Array {
  const rng = new Rng(11).split(name);
  return Float64Array.from({ length: sizeOf(shape) }, () => rng.normal());
}

/** Parameters that start at constants are moved off them, so that every one has a part in the loss. */
export function paramsOf(prefix: string, specs: readonly ParamSpec[]): (readonly [name: string, data: Float64Array])[] {
  const rng = new Rng(5).split(prefix);
  return specs.map((s) => {
    const start = new Float32Array(sizeOf(s.shape));
    initParam(s, start, rng);
    const noise = draw(prefix + s.name, s.shape);
    return [prefix + s.name, Float64Array.from(start, (x, i) => x + 0.2 * (noise[i] ?? 0))] as const;
  });
}

/** The outputs of a graph; an input without a value is NaN. */
export function run(graph: Graph, values: Values): Map<string, Cell> {
  const cells = graph.inputs.map(({ name, value }): [string, Cell] => [
    name,
    { shape: value.shape, data: Float64Array.from(values.get(name) ?? [Number.NaN]) },
  ]);
  return interpret(graph, new Map(cells));
}

/** The rows of an output along its last axis. */
export function rowsOf(cells: ReadonlyMap<string, Cell>, name: string): Rows {
  const { shape = [], data = [] } = cells.get(name) ?? {};
  const width = shape.at(-1) ?? 1;
  return Array.from({ length: data.length / width }, (_, i) => Float64Array.from(data).subarray(i * width, (i + 1) * width));
}
