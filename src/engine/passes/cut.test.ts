import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DTYPE_BYTES, sizeOf } from "../../core/index.ts";
import { lowerStage } from "../onnx/index.ts";
import { traceToy } from "../testing/toy.ts";
import { add, Builder, exp, region, tanh } from "../trace/index.ts";
import { cut, optimize, planArena, type Stage } from "./index.ts";

const show = (stages: readonly Stage[]): string =>
  stages
    .map((s) => `${s.region || "(none)"}: ${s.inputs.map((v) => `%${v.id}`).join(" ")} -> ${s.outputs.map((v) => `%${v.id}`).join(" ")}`)
    .join("\n");

describe("cut()", () => {
  test("makes a stage of each region, with what crosses its border", () => {
    const b = new Builder();
    const x = b.input("x", [2]);
    const y = region(b, "a", () => tanh(exp(x)));
    const z = region(b, "b", () => add(exp(y), tanh(y)));
    b.output("y", y);
    b.output("z", z);
    expect(show(cut(b.graph()))).toBe("a: %0 -> %2\nb: %2 -> %5");
  });

  test("gathers the parts of a region that lie apart, where the order allows", () => {
    const b = new Builder();
    const x = b.input("x", [2]);
    const first = region(b, "a", () => exp(x));
    const other = region(b, "b", () => tanh(first));
    const second = region(b, "a", () => tanh(x)); // needs nothing of b
    b.output("y", add(other, second));
    expect(cut(b.graph()).map((s) => `${s.region}:${s.nodes.length}`)).toEqual(["a:2", "b:1", ":1"]);
  });

  test("makes two stages of a region that must run twice", () => {
    const b = new Builder();
    const x = b.input("x", [2]);
    const first = region(b, "a", () => exp(x));
    const other = region(b, "b", () => tanh(first));
    b.output(
      "y",
      region(b, "a", () => tanh(other)),
    );
    expect(cut(b.graph()).map((s) => s.region)).toEqual(["a", "b", "a"]);
  });

  test("makes no stage of a region that nothing reads", () => {
    const b = new Builder();
    const x = b.input("x", [2]);
    region(b, "dead", () => tanh(exp(x)));
    b.output(
      "y",
      region(b, "alive", () => exp(x)),
    );
    expect(cut(b.graph()).map((s) => s.region)).toEqual(["alive"]);
  });
});

describe("cut() of a network of three blocks", () => {
  const stages = cut(optimize(traceToy()));
  const of = (name: string): Stage[] => stages.filter((s) => s.region === name);

  test("runs each block forward and backward once", () => {
    expect(stages.map((s) => s.region)).toEqual([
      "group0/block0",
      "group0/block1",
      "group0/block2",
      "group0/loss",
      "group0/loss~",
      "group0/block2~",
      "group0/block1~",
      "group0/block0~",
    ]);
  });

  test("lowers equal blocks to equal bytes: one session forward, one backward but for the first block's", () => {
    const bytes = (name: string): string =>
      of(name)
        .map((s) => createHash("sha1").update(lowerStage(s.nodes, s.outputs).bytes).digest("hex"))
        .join();
    expect(bytes("group0/block1")).toBe(bytes("group0/block0"));
    expect(bytes("group0/block2")).toBe(bytes("group0/block0"));
    expect(bytes("group0/block2~")).toBe(bytes("group0/block1~"));
    expect(bytes("group0/block0~")).not.toBe(bytes("group0/block1~")); // it hands no gradient on
  });

  test("hands q, k and v to the backward stage, never probabilities", () => {
    const square = stages.flatMap((s) => [...s.inputs, ...s.outputs]).filter((v) => v.shape.length === 4 && v.shape[2] === v.shape[3]);
    expect(square).toEqual([]);
    const crossing = of("group0/block1")[0]?.outputs.filter((v) => v.shape.join() === "2,2,5,4") ?? [];
    expect(crossing).toHaveLength(3);
  });

  test("hands on only each block's input where it is checkpointed", () => {
    const checkpointed = cut(optimize(traceToy(), { checkpoint: (name) => name.includes("block") }));
    const backward = checkpointed.find((s) => s.region === "group0/block1~");
    const forward = checkpointed.find((s) => s.region === "group0/block1");
    expect(checkpointed.map((s) => s.region)).toEqual(stages.map((s) => s.region));
    expect(forward?.outputs.map((v) => v.shape)).toEqual([[2, 5, 8]]);
    const made = new Set(checkpointed.flatMap((s) => s.outputs.map((v) => v.id)));
    expect(backward?.inputs.filter((v) => made.has(v.id)).map((v) => v.shape)).toEqual([
      [2, 5, 8], // what the block read
      [2, 5, 8], // the gradient of what it made
    ]);
  });
});

test("running gradients of matrices ride in the product that makes the new ones (contracts 6)", () => {
  const graph = optimize(traceToy({ groups: 2, running: true }));
  const made = new Map(graph.nodes.flatMap((n) => n.outputs.map((v) => [v.id, n.op] as const)));
  const matrices = graph.outputs.filter((o) => o.kind === "grad" && o.value.shape.length === 2);
  expect(matrices).toHaveLength(3 * 6);
  expect(new Set(matrices.map((o) => made.get(o.value.id)))).toEqual(new Set(["dotAdd"]));
});

describe("planArena()", () => {
  test("gives values that live at one time memory apart, and reuses memory", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ size: fc.integer({ min: 1, max: 100 }), reads: fc.array(fc.nat(20)) }), { maxLength: 20 }),
        (recipe) => {
          const values = recipe.map(({ size }, id) => ({ id, dtype: "f32" as const, shape: [size] }));
          const stages = recipe.map(({ reads }, i) => ({
            region: "",
            nodes: [],
            inputs: reads.filter((r) => r < i).map((r) => values[r]!), // an earlier stage's
            outputs: [values[i]!], // one a stage
          }));
          const { placements, bytes } = planArena(stages, new Set());
          const life = (id: number): [number, number] => [
            id,
            Math.max(
              id,
              stages.findLastIndex((s) => s.inputs.some((v) => v.id === id)),
            ),
          ];
          expect(placements.map((p) => p.value.id).sort((a, b) => a - b)).toEqual(values.map((v) => v.id));
          for (const p of placements) {
            expect(p.bytes).toBeGreaterThanOrEqual(sizeOf(p.value.shape) * DTYPE_BYTES.f32);
            expect(p.offset + p.bytes).toBeLessThanOrEqual(bytes);
            expect(p.offset % 64).toBe(0);
            for (const q of placements) {
              const [a, b] = [life(p.value.id), life(q.value.id)];
              if (p === q || a[1] < b[0] || b[1] < a[0]) continue;
              expect(p.offset + p.bytes <= q.offset || q.offset + q.bytes <= p.offset).toBe(true);
            }
          }
        },
      ),
    );
  });

  test("needs no more than two buffers for a chain, and none for permanent values", () => {
    const values = Array.from({ length: 6 }, (_, id) => ({ id, dtype: "f32" as const, shape: [16] }));
    const chain = values.map((v, i) => ({ region: "", nodes: [], inputs: values.slice(Math.max(0, i - 1), i), outputs: [v] }));
    expect(planArena(chain, new Set()).bytes).toBe(2 * 64);
    expect(planArena(chain, new Set(values.map((v) => v.id))).bytes).toBe(0);
  });
});
