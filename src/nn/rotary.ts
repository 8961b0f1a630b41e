/** @file Rotary positions in a graph: queries and keys turned by tables of sines and cosines. DINOv3 spec §3.2. */
import { ShapeError } from "../core/index.ts";
import { add, broadcast, type Builder, concat, constant, mul, pad, scalar, split, type Tensor } from "../engine/trace/index.ts";
import type { Grid } from "./position.ts";
import { ropeTables } from "./rope.ts";
import { headDim, prefixTokens, type ViTConfig } from "./vit-config.ts";

/** Tables `[p, headDim]` of the patches, as `ropeTables` makes them. */
export interface Rope {
  readonly sin: Tensor;
  readonly cos: Tensor;
}

/** Tables `[t, headDim]` of all tokens; the first half of the sines is negated. */
export interface Rotation {
  readonly sin: Tensor;
  readonly cos: Tensor;
}

const signed = (i: number, dim: number): number => (i % dim < dim / 2 ? -1 : 1);

/** The rotation of a grid as constants, the same for all blocks; class token and registers stay as they are. */
export function gridRotation(builder: Builder, config: ViTConfig, grid: Grid): Rotation {
  const dim = headDim(config);
  const before = prefixTokens(config);
  const patches = ropeTables({ rope: config.rope ?? {}, headDim: dim, grid });
  const shape = [before + grid.rows * grid.columns, dim];
  const sin = new Float32Array(shape[0]! * dim); // it has two entries
  const cos = new Float32Array(sin.length).fill(1);
  sin.set(
    patches.sin.map((s, i) => signed(i, dim) * s),
    before * dim,
  );
  cos.set(patches.cos, before * dim);
  return { sin: constant(builder, shape, sin), cos: constant(builder, shape, cos) };
}

/** The rotation by given tables of the patches. Throws ShapeError where they are not `[patches, headDim]`. */
export function givenRotation({ sin, cos }: Rope, config: ViTConfig, patches: number): Rotation {
  const dim = headDim(config);
  for (const table of [sin, cos])
    if (table.shape.join() !== `${patches},${dim}`)
      throw new ShapeError(`Cannot rotate positions by ${table.toString()}: the patches need float32[${patches},${dim}]; make new tables`);
  const { builder } = sin;
  const before = prefixTokens(config);
  const signs = constant(
    builder,
    [1, dim],
    Float32Array.from({ length: dim }, (_, i) => signed(i, dim)),
  );
  return {
    sin: pad(mul(sin, signs), 0, [before, 0]),
    cos: concat([broadcast(scalar(builder, 1), [before, dim]), cos], 0),
  };
}

/** `x cos + rot(x) sin`, rot([a, b]) = [−b, a] with the halves of each head: x `[b, h, t, headDim]`. The sign is in the table. */
export function rotate(x: Tensor, { sin, cos }: Rotation): Tensor {
  const half = (x.shape[3] ?? 2) / 2;
  const [a, b] = split(x, 3, [half, half]) as [Tensor, Tensor]; // split in two
  return add(mul(x, cos), mul(concat([b, a], 3), sin));
}
