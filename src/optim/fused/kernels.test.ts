import { describe, expect, test } from "vitest";
import { InternalError, PlatformError, Rng } from "../../core/index.ts";
import { adamw } from "../adamw.ts";
import { ema } from "../ema.ts";
import { makeLayout } from "../layout.ts";
import { F32_OPS } from "../ops.ts";
import { momentumUpdate } from "../sgd.ts";
import { Crew } from "./crew.ts";
import { makeJsKernel } from "./kernel-js.ts";
import { compileOptimizerModule, makeWasmKernel } from "./kernel-wasm.ts";
import type { Kernel, SharedFloats, UpdateKind } from "./kernel.ts";
import type { JobSetup } from "./phases.ts";
import { allocShared } from "./shared-buffers.ts";
import { leb } from "../../core/wasm/index.ts";

const N = 64;
const SPAN = { start: 16, length: 32 };
const LAYOUT = makeLayout([{ name: "x", shape: [N] }]);
const ADAMW_SCALARS = Float32Array.of(0.7, 0.99, 0.02, 1.5, 0.1, 0.999, 0.001, 1e-8);
const MOMENTUM_SCALARS = Float32Array.of(0.7, 0.1, 0.3, 0.02, 0.9);

function makeKernel(
  name: "js" | "wasm",
  kind: UpdateKind,
): { readonly kernel: Kernel; readonly data: Readonly<Record<"param" | "grad" | "mean" | "square" | "teacher", SharedFloats>> } {
  const { flat, memory } = allocShared(LAYOUT, ["param", "grad", "mean", "square", "teacher"]);
  for (const [kindName, { data }] of Object.entries(flat)) {
    const rng = new Rng(3, kindName);
    for (let i = 0; i < N; i++) data[i] = kindName === "square" ? rng.uniform() : rng.normal();
  }
  const data = { param: flat.param.data, grad: flat.grad.data, mean: flat.mean.data, square: flat.square.data, teacher: flat.teacher.data };
  if (name === "js") return { kernel: makeJsKernel(kind, data), data };
  const module = compileOptimizerModule();
  if (module === undefined || memory === undefined)
    throw new InternalError("Cannot test the WebAssembly kernel: Node has no SIMD; use another Node");
  return { kernel: makeWasmKernel(kind, data, { module, memory }), data };
}

const inSpan = (i: number): boolean => i >= SPAN.start && i < SPAN.start + SPAN.length;

describe.each(["js", "wasm"] as const)("the %s kernel", (name) => {
  test("update() is adamw() in float32, bit for bit, inside the span only", () => {
    const { kernel, data } = makeKernel(name, "adamw");
    const [clip = 0, keep = 0, stepSize = 0, rootScale = 0, beta1Rest = 0, beta2 = 0, beta2Rest = 0, eps = 0] = ADAMW_SCALARS;
    const scalars = { clip, keep, stepSize, rootScale, beta1Rest, beta2, beta2Rest, eps };
    const expected = Array.from({ length: N }, (_, i) => {
      const x = { param: data.param[i] ?? 0, grad: data.grad[i] ?? 0, mean: data.mean[i] ?? 0, square: data.square[i] ?? 0 };
      return inSpan(i) ? adamw(F32_OPS, x, scalars) : x;
    });
    kernel.update(SPAN, ADAMW_SCALARS);
    for (const field of ["param", "mean", "square"] as const) expect([...data[field]]).toEqual(expected.map((x) => x[field]));
  });

  test("update() is momentumUpdate() in float32, bit for bit", () => {
    const { kernel, data } = makeKernel(name, "momentum");
    const [clip = 0, weightDecay = 0, trust = 0, lr = 0, momentum = 0] = MOMENTUM_SCALARS;
    const expected = Array.from({ length: N }, (_, i) => {
      const x = { param: data.param[i] ?? 0, grad: data.grad[i] ?? 0, mean: data.mean[i] ?? 0 };
      return inSpan(i) ? momentumUpdate(F32_OPS, x, { clip, weightDecay, trust, lr, momentum }) : x;
    });
    kernel.update(SPAN, MOMENTUM_SCALARS);
    for (const field of ["param", "mean"] as const) expect([...data[field]]).toEqual(expected.map((x) => x[field]));
  });

  test("ema() is ema() in float32, keeps a teacher equal to its student, and dot() sums in float64", () => {
    const { kernel, data } = makeKernel(name, "adamw");
    data.teacher[20] = data.param[20] ?? 0;
    const rest = Math.fround(0.004);
    const expected = Array.from(data.teacher, (teacher, i) =>
      inSpan(i) ? ema(F32_OPS, { teacher, param: data.param[i] ?? 0 }, rest) : teacher,
    );
    kernel.ema(SPAN, 0.004);
    expect([...data.teacher]).toEqual(expected);
    expect(data.teacher[20]).toBe(data.param[20]);
    const sum = expected.reduce((total, _, i) => (inSpan(i) ? total + (data.grad[i] ?? 0) * (data.param[i] ?? 0) : total), 0);
    expect(kernel.dot("grad", "param", SPAN)).toBeCloseTo(sum, 12);
  });
});

test("both kernels give the same bits of dot()", () => {
  const sums = (["js", "wasm"] as const).map((name) => makeKernel(name, "adamw").kernel.dot("grad", "grad", { start: 0, length: N }));
  expect(sums[0]).toBe(sums[1]);
});

test("leb() encodes as the WebAssembly specification's example", () => {
  expect([leb(0), leb(127), leb(128), leb(624_485), leb(65_536)]).toEqual([[0], [127], [128, 1], [0xe5, 0x8e, 0x26], [0x80, 0x80, 4]]);
});

test("Crew.run() rejects when a thread dies", async () => {
  const broken = {} as JobSetup; // a setup the thread cannot read
  await using crew = new Crew(broken, { threads: 2, scalarsPerParam: 8 });
  await expect(crew.run({ phase: "sums", gradsIndex: 0 })).rejects.toThrow(PlatformError);
  await expect(crew.run({ phase: "sums", gradsIndex: 0 })).rejects.toThrow("an optimizer thread has died");
});
