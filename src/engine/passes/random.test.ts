/** @file Random graphs with random regions: passes, cutting and memory planning change no number. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Rng } from "../../core/index.ts";
import { expectClose } from "../../core/testing/golden.ts";
import { gradients } from "../grad/index.ts";
import { type Cell, type Graph, interpret, numbersOf } from "../ir/index.ts";
import { openCpu } from "../runtime/index.ts";
import {
  add,
  broadcast,
  Builder,
  concat,
  dot,
  dotAdd,
  gelu,
  layerNorm,
  mul,
  reduceSum,
  reshape,
  scalar,
  softmax,
  split,
  stopGradient,
  sub,
  sumAll,
  tanh,
  type Tensor,
  transpose,
} from "../trace/index.ts";
import { optimize } from "./index.ts";

type Step = (a: Tensor, b: Tensor) => Tensor;

/** A step by way of two outputs of one op: parts `[1,3]` and `[2,3]`, joined again. */
function byParts(a: Tensor, b: Tensor): Tensor {
  const [first = a, rest = a] = split(dot(tanh(a), softmax(b)), 0, [1, 2]);
  return concat([mul(rest, 2), tanh(first)], 0);
}

/** Every step makes a matrix `[3,3]` of two others. */
const STEPS: readonly Step[] = [
  (a, b) => add(a, b),
  (a, b) => sub(mul(a, 0.5), b),
  (a, b) => mul(tanh(a), tanh(b)),
  (a, b) => dot(a, tanh(b), { transB: true, alpha: 0.5 }),
  (a, b) => add(b, dot(tanh(a), tanh(b))),
  (a, b) => dotAdd(softmax(a), tanh(b), { transA: true, plus: scalar(a.builder, 1) }),
  (a) => reshape(gelu(reshape(a, [9])), [3, 3]),
  (a, b) => add(a, broadcast(reduceSum(b, [0], true), [3, 3])),
  (a, b) => mul(stopGradient(softmax(a)), b),
  (a) => transpose(a, [1, 0]),
  (a, b) => layerNorm(a, reshape(reduceSum(b, [1]), [3]), { bias: reduceSum(b, [0]), eps: 0.1 }),
  byParts,
];

interface Recipe {
  readonly step: number;
  readonly a: number;
  readonly b: number;
  readonly region: string;
  readonly shown: boolean;
}

/** Values made in turn from two inputs, some of them outputs; then the loss and its gradients. */
function trace(recipe: readonly Recipe[]): Graph {
  const b = new Builder();
  const inputs = [b.input("x", [3, 3]), b.input("w", [3, 3], { kind: "param" })] as const;
  const made: Tensor[] = [...inputs];
  recipe.forEach(({ step, a, b: other, region, shown }, i) => {
    const pick = (n: number): Tensor => made[made.length - 1 - (n % made.length)]!; // inside the list
    const y = b.inRegion(region, () => STEPS[step % STEPS.length]!(pick(a), pick(other))); // inside the table
    made.push(y);
    if (shown) b.output(`y${i}`, y);
  });
  const loss = b.inRegion("loss", () => sumAll(tanh(made.at(-1) ?? inputs[0])));
  b.output("loss", loss);
  gradients(loss, inputs).forEach((g, i) => g !== undefined && b.output(`g${i}`, g, "grad"));
  return b.graph();
}

function values(): Map<string, Cell> {
  const cell = (name: string): Cell => {
    const rng = new Rng(5, name);
    return { shape: [3, 3], data: Float64Array.from({ length: 9 }, () => Math.fround(rng.normal(0, 0.7))) };
  };
  return new Map(["x", "w"].map((name) => [name, cell(name)]));
}

const recipes = fc.array(
  fc.record({
    step: fc.nat(STEPS.length - 1),
    a: fc.nat(3),
    b: fc.nat(5),
    region: fc.constantFrom("", "one", "two", "three"),
    shown: fc.boolean(),
  }),
  { minLength: 1, maxLength: 12 },
);

test("optimize() leaves a random graph's values as they are, with and without checkpointing", () => {
  const given = values();
  fc.assert(
    fc.property(recipes, fc.subarray(["", "one", "two", "three", "loss"]), (recipe, checkpointed) => {
      const graph = trace(recipe);
      const want = interpret(graph, given);
      for (const options of [{}, { checkpoint: (name: string) => checkpointed.includes(name) }]) {
        const got = interpret(optimize(graph, options), given);
        for (const [name, cell] of want) expectClose(got.get(name)?.data ?? [], cell.data, { atol: 1e-12, rtol: 1e-7, what: name }); // folded constants are float32
      }
    }),
  );
});

test("the CPU device gives a random graph's values, however it is cut", async () => {
  using device = openCpu({ threads: 2 });
  const given = values();
  await fc.assert(
    fc.asyncProperty(recipes, fc.boolean(), async (recipe, checkpointed) => {
      const graph = trace(recipe);
      const want = interpret(graph, given);
      using program = device.compile(optimize(graph, checkpointed ? { checkpoint: () => true } : {}));
      for (const [name, { data }] of given) {
        const view = program.inputs.get(name);
        if (view instanceof Float32Array) view.set(data);
      }
      await program.run();
      expect(program.outputs.size).toBe(want.size);
      for (const [name, cell] of want)
        expectClose(numbersOf(program.outputs.get(name) ?? new Float32Array(0)), cell.data, { atol: 1e-4, rtol: 1e-3, what: name });
    }),
    { numRuns: 60 },
  );
});
