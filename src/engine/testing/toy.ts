/** @file A small ViT-like network with its gradients: blocks of attention and MLP, each a region; for tests of passes and devices. */
import { Rng } from "../../core/index.ts";
import { gradients } from "../grad/index.ts";
import type { Cell, Graph } from "../ir/index.ts";
import {
  add,
  attention,
  Builder,
  dims,
  dot,
  dotAdd,
  gelu,
  layerNorm,
  mul,
  region,
  reshape,
  sumAll,
  type Tensor,
  transpose,
} from "../trace/index.ts";

export interface ToyOptions {
  readonly blocks?: number;
  /** Samples of one pass. */
  readonly samples?: number;
  /** Passes over inputs of their own, each forward and backward before the next, gradients summed. */
  readonly groups?: number;
  /** Whether gradients so far come in as `running.*`. */
  readonly running?: boolean;
}

const TOKENS = 5;
const WIDTH = 8;
const HEADS = 2;

/** Parameters of a block: name, shape. */
const BLOCK = {
  "norm1.w": [WIDTH],
  "norm1.b": [WIDTH],
  q: [WIDTH, WIDTH],
  k: [WIDTH, WIDTH],
  v: [WIDTH, WIDTH],
  proj: [WIDTH, WIDTH],
  "norm2.w": [WIDTH],
  "norm2.b": [WIDTH],
  fc1: [2 * WIDTH, WIDTH],
  "fc1.b": [2 * WIDTH],
  fc2: [WIDTH, 2 * WIDTH],
} as const;
type BlockParams = { readonly [K in keyof typeof BLOCK]: Tensor };

function entries(): [keyof typeof BLOCK, readonly number[]][] {
  return Object.entries(BLOCK) as [keyof typeof BLOCK, readonly number[]][]; // the table's own keys
}

function heads(x: Tensor, samples: number): Tensor {
  return transpose(reshape(x, [samples, TOKENS, HEADS, WIDTH / HEADS]), [0, 2, 1, 3]);
}

/** x + proj(attention(norm x)), then x + mlp(norm x); x is `[samples, tokens, width]`. */
function applyBlock(p: BlockParams, x: Tensor): Tensor {
  const { b, n, d } = dims(x, "b n d");
  const h = reshape(layerNorm(x, p["norm1.w"], { bias: p["norm1.b"], eps: 1e-5 }), [b * n, d]);
  const head = (w: Tensor): Tensor => heads(dot(h, w, { transB: true }), b);
  const a = reshape(transpose(attention(head(p.q), head(p.k), { v: head(p.v), scale: 0.5 }), [0, 2, 1, 3]), [b * n, d]);
  const y = add(x, reshape(dot(a, p.proj, { transB: true }), [b, n, d]));
  const m = reshape(layerNorm(y, p["norm2.w"], { bias: p["norm2.b"], eps: 1e-5 }), [b * n, d]);
  const hidden = gelu(dotAdd(m, p.fc1, { transB: true, plus: p["fc1.b"] }));
  return add(y, reshape(dot(hidden, p.fc2, { transB: true }), [b, n, d]));
}

/** Outputs `loss` and `grad.<parameter>`; inputs `x0`, `x1`, … of a group each. */
export function traceToy({ blocks = 3, samples = 2, groups = 1, running = false }: ToyOptions = {}): Graph {
  const builder = new Builder();
  const params = Array.from({ length: blocks }, (_, i) =>
    Object.fromEntries(entries().map(([name, shape]) => [name, builder.input(`${i}.${name}`, shape, { kind: "param" })])),
  ) as unknown as readonly BlockParams[]; // every name of BLOCK was set
  const wrt = params.flatMap((p, i) => entries().map(([name]) => ({ name: `${i}.${name}`, tensor: p[name] })));
  let grads = running ? wrt.map(({ name, tensor }): Tensor | undefined => builder.input(`running.${name}`, tensor.shape)) : [];
  const losses: Tensor[] = [];
  for (let g = 0; g < groups; g++) {
    let x = builder.input(`x${g}`, [samples, TOKENS, WIDTH]);
    params.forEach((p, i) => {
      x = region(builder, `group${g}/block${i}`, () => applyBlock(p, x));
    });
    const loss = region(builder, `group${g}/loss`, () => mul(sumAll(mul(x, x)), 0.01));
    losses.push(loss);
    grads = gradients(
      loss,
      wrt.map((p) => p.tensor),
      { running: grads },
    );
  }
  builder.output(
    "loss",
    losses.reduce((a, b) => add(a, b)),
  );
  grads.forEach((g, i) => g !== undefined && builder.output(`grad.${wrt[i]?.name}`, g, "grad"));
  return builder.graph();
}

/** Seeded values for every input of the graph; those of one name and shape are the same in every graph. */
export function toyValues(graph: Graph): Map<string, Cell> {
  return new Map(
    graph.inputs.map(({ name, value: { shape } }) => {
      const rng = new Rng(1, `toy/${name}`);
      const length = shape.reduce((a, b) => a * b, 1);
      return [name, { shape, data: Float64Array.from({ length }, () => Math.fround(rng.normal(0, 0.5))) }];
    }),
  );
}
