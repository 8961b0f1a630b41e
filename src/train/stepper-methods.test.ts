import { describe, expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { dinov2, type Dinov2Config, dinov3, type Dinov3Config, distill, distillFeatures, type Method, simclr } from "../methods/index.ts";
import { initParam, resnetPreset } from "../nn/index.ts";
import { type StepInputs, Stepper, type StepResult } from "./stepper.ts";
import { SMALL_VIT } from "../nn/testing/small-vit.ts";

const BATCH = 4;
const head = { hidden: 24, bottleneck: 12, prototypes: 20, layers: 3, batchNorm: false, normLastLayer: false } as const;
const v2: Dinov2Config = {
  backbone: { ...SMALL_VIT, depth: 3, maskToken: true, layerScale: 0.1 },
  head: { ...head, width: 16 },
  ibotHead: { ...head, width: 16, prototypes: 12 },
  mask: { probability: 0.5, ratioMin: 0.2, ratioMax: 0.6, fill: "under", shift: false },
  crops: { globalSizePx: 16, localSizePx: 8, localCount: 2 },
  objective: {
    centering: "sinkhorn",
    centerMomentum: 0.9,
    sinkhornIterations: 3,
    koleoWeight: 0.1,
    koleoGroup: 2,
    ibotWeight: 1,
    studentTemp: 0.1,
  },
  dropPath: 0.4,
  dropPathUniform: true,
  dropPathKind: "subset",
  groupSize: 2,
  batchSize: BATCH,
  microBatchSize: BATCH,
};
const v3: Dinov3Config = {
  ...v2,
  backbone: {
    ...v2.backbone,
    positions: "rope",
    rope: { rescale: 2 },
    registers: 2,
    registerName: "storage_tokens",
    keyBiasMask: true,
    localClsNorm: true,
  },
  head: { ...v2.head, lastLayer: "plain" },
  ibotHead: { ...head, width: 16, prototypes: 12, lastLayer: "plain" },
  mask: { ...v2.mask, fill: "exact" },
  objective: { ...v2.objective, localWeight: "localWeight" },
};
const gram = { sizePx: 24, useEma: false, normalize: true, level: "image", tokens: "all" } as const;
const student = { backbone: { ...v2.backbone, width: 8, patchSizePx: 4 }, dropPath: 0 } as const;

function inputsOf(step: number): StepInputs {
  const floats = (name: string, length: number): Float32Array => {
    const rng = new Rng(4).split(`${name} ${step}`);
    return Float32Array.from({ length }, () => rng.normal());
  };
  return {
    globals: floats("globals", 2 * BATCH * 3 * 16 * 16),
    locals: floats("locals", 2 * BATCH * 3 * 8 * 8),
    gramCrops: floats("gram", 2 * BATCH * 3 * 24 * 24),
    step,
    rng: new Rng(9),
    scalars: {
      lr: 1e-3,
      weightDecay: 0.04,
      emaMomentum: 0.9,
      teacherTemp: 0.05,
      clip: { kind: "per-module", norm: 3 },
      freezeLastLayer: false,
      inputs: { localWeight: 0.5, gramWeight: 2 },
    },
  };
}

async function twoSteps(method: Method): Promise<{ readonly results: readonly StepResult[]; readonly grads: readonly Float32Array[] }> {
  using device = openCpu({ threads: 2 });
  await using stepper = new Stepper({ method, device, optimizer: { kind: "adamw", beta1: 0.9, beta2: 0.999, eps: 1e-8 }, threads: 1 });
  stepper.init(new Rng(3));
  for (const { name, specs } of method.fixed)
    for (const s of specs) initParam(s, stepper.fixed.get(name)?.view(s.name) ?? new Float32Array(), new Rng(5));
  const results = [await stepper.step(inputsOf(0)), await stepper.step(inputsOf(1))];
  const last = method.batchSize / method.microBatchSize === 2 ? "grads2" : "grads";
  return { results, grads: stepper.learners.map(({ flats }) => (flats[last] ?? flats.grads).data.slice()) };
}

/** Largest difference over the largest value of the reference. */
function relative(a: Float32Array, b: Float32Array): number {
  const scale = b.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return b.reduce((most, x, i) => Math.max(most, Math.abs(x - (a[i] ?? NaN))), 0) / scale;
}

const METHODS: readonly (readonly [string, (microBatchSize: number) => Method, readonly string[]])[] = [
  ["DINOv2", (microBatchSize) => dinov2({ ...v2, microBatchSize }), ["loss.globals", "loss.ibot", "loss.koleo", "loss.locals"]],
  [
    "DINOv2 with one head and EMA centres",
    (microBatchSize) => dinov2({ ...v2, ibotHead: "shared", objective: { ...v2.objective, centering: "ema" }, microBatchSize }),
    ["loss.globals", "loss.ibot", "loss.koleo", "loss.locals"],
  ],
  ["DINOv3", (microBatchSize) => dinov3({ ...v3, microBatchSize }), ["loss.globals", "loss.ibot", "loss.koleo", "loss.locals"]],
  [
    "DINOv3 with Gram anchoring",
    (microBatchSize) => dinov3({ ...v3, gram, microBatchSize }),
    ["loss.globals", "loss.gram", "loss.ibot", "loss.koleo", "loss.locals"],
  ],
  [
    "DINOv3 anchored to its own average",
    (microBatchSize) => dinov3({ ...v3, gram: { ...gram, sizePx: 16, useEma: true }, microBatchSize }),
    ["loss.globals", "loss.gram", "loss.ibot", "loss.koleo", "loss.locals"],
  ],
  [
    "distillation to two students",
    (microBatchSize) =>
      distill({
        teacher: { ...v2, microBatchSize },
        students: [
          { ...student, name: "small", head: { ...head, width: 8 }, ibotHead: { ...head, width: 8, prototypes: 12 } },
          { ...v2, name: "same" },
        ],
      }),
    ["small", "same"].flatMap((name) => ["globals", "ibot", "koleo", "locals"].map((term) => `loss.${name}.${term}`)),
  ],
  [
    "distillation by features to two students",
    (microBatchSize) =>
      distillFeatures({
        teacher: { ...v2, microBatchSize },
        students: [
          { ...student, name: "small" },
          { ...student, name: "coarse", backbone: { ...student.backbone, patchSizePx: 8 }, dropPath: 0.2 },
        ],
        objective: { clsWeight: 1, patchWeight: 0.5 },
      }),
    ["small", "coarse"].flatMap((name) => ["cls", "locals", "patches"].map((term) => `loss.${name}.${term}`)),
  ],
];

describe("every method's step", () => {
  test.each(METHODS)("%s: micro-batches give the loss and the gradients of the whole batch", async (_, method, terms) => {
    const whole = await twoSteps(method(BATCH));
    expect(Object.keys(whole.results[1]?.parts ?? {}).sort()).toEqual([...terms].sort());
    for (const value of Object.values(whole.results[1]?.parts ?? {})) expect(Number.isFinite(value) && value !== 0).toBe(true);
    const parted = await twoSteps(method(BATCH / 2));
    whole.results.forEach((r, i) => {
      const other = parted.results[i];
      expect(Math.abs((other?.loss ?? NaN) - r.loss) / Math.abs(r.loss), `loss of step ${i}`).toBeLessThan(1e-5);
      for (const [name, value] of Object.entries(r.parts)) expect(other?.parts[name], name).toBeCloseTo(value, 4);
      for (const [name, value] of Object.entries(r.watched)) expect(other?.watched[name], name).toBeCloseTo(value, 4);
    });
    // the second step starts from weights that rounding has moved apart
    whole.grads.forEach((grads, i) => expect(relative(parted.grads[i] ?? new Float32Array(), grads)).toBeLessThan(2e-4));
  });

  test("one teacher pass serves every student", () => {
    const named = (name: string) => ({ ...v2, name });
    const { parts } = distill({ teacher: v2, students: [named("a"), named("b"), named("c")] });
    expect(parts.map(({ name }) => name)).toEqual(["teacher", "targets", "a", "b", "c"]);
  });

  test("a second student's gradient that is not finite moves no student", async () => {
    using device = openCpu({ threads: 2 });
    const method = distill({
      teacher: v2,
      students: [
        { ...v2, name: "first" },
        { ...v2, name: "second" },
      ],
    });
    await using stepper = new Stepper({ method, device, optimizer: { kind: "adamw", beta1: 0.9, beta2: 0.999, eps: 1e-8 }, threads: 1 });
    stepper.init(new Rng(3));
    for (const s of method.fixed[0]?.specs ?? [])
      initParam(s, stepper.fixed.get("teacher")?.view(s.name) ?? new Float32Array(), new Rng(5));
    stepper.learners[1]?.flats.params.view("backbone.norm.bias").fill(NaN);
    const before = stepper.learners.map(({ flats }) => [flats.params.data.slice(), flats.teacher.data.slice(), flats.mean.data.slice()]);
    const result = await stepper.step(inputsOf(0));
    expect(result.optimizer.applied).toBe(false);
    expect(result.nonFinite.length).toBeGreaterThan(0);
    expect(result.nonFinite.every(([name, data]) => name.startsWith("second.") && data.some((x) => !Number.isFinite(x)))).toBe(true);
    expect(stepper.learners.map(({ flats }) => [flats.params.data, flats.teacher.data, flats.mean.data])).toEqual(before);
    expect(stepper.learners[0].optimizer.stepCounts()["backbone.norm.bias"]).toBe(0);
  });

  test("a stop in the middle of a step leaves everything as it was, and the step can be run again", async () => {
    using device = openCpu({ threads: 2 });
    const stop = new AbortController();
    const base = dinov2({ ...v2, objective: { ...v2.objective, centering: "ema" } });
    const method: Method = { ...base, draw: (options) => (stop.abort(), base.draw(options)) };
    const optimizer = { kind: "adamw", beta1: 0.9, beta2: 0.999, eps: 1e-8 } as const;
    await using stepper = new Stepper({ method, device, optimizer, threads: 1 });
    await using other = new Stepper({ method: base, device, optimizer, threads: 1 });
    for (const s of [stepper, other]) s.init(new Rng(3));
    const numbers = (s: Stepper): Float32Array[] =>
      [s.flats.params.data, s.flats.teacher.data, s.flats.mean.data, ...s.state.values()].map((x) => x.slice());
    const before = numbers(stepper);
    await expect(stepper.step({ ...inputsOf(0), signal: stop.signal })).rejects.toThrow();
    expect(numbers(stepper)).toEqual(before);
    await stepper.step(inputsOf(0));
    await other.step(inputsOf(0));
    expect(numbers(stepper)).toEqual(numbers(other));
  });

  test.each(["gradient", "rate"] as const)(
    "a last layer frozen by its %s stays; only by its rate do moments and norms go on",
    async (freezeBy) => {
      using device = openCpu({ threads: 2 });
      const optimizer = { kind: "adamw", beta1: 0.9, beta2: 0.999, eps: 1e-8 } as const;
      await using stepper = new Stepper({ method: dinov2(v2), device, optimizer, freezeBy, threads: 1 });
      stepper.init(new Rng(3));
      const name = "dino_head.last_layer.weight_v";
      const before = stepper.flats.params.view(name).slice();
      const inputs = inputsOf(0);
      const result = await stepper.step({ ...inputs, scalars: { ...inputs.scalars, freezeLastLayer: true } });
      expect(stepper.flats.params.view(name)).toEqual(before);
      expect(stepper.flats.mean.view(name).some((x) => x !== 0)).toBe(freezeBy === "rate");
      expect(result.optimizer.gradNorms.get(name) !== 0).toBe(freezeBy === "rate");
      expect(stepper.optimizer.stepCounts()[name]).toBe(freezeBy === "rate" ? 1 : 0);
    },
  );

  test("a frozen teacher's batch norm keeps the statistics that it was trained to", () => {
    const resnet = { ...v2, backbone: { ...resnetPreset("resnet18"), channels: 3 }, objective: { ...v2.objective, ibotWeight: 0 } };
    const wide = { ...resnet, head: { ...head, width: 512 }, dropPath: 0, crops: { globalSizePx: 32, localSizePx: 32, localCount: 1 } };
    const outputs = (method: Method): string[] =>
      (method.parts.find(({ name }) => name === "teacher")?.trace({ running: false }).outputs ?? []).map(({ name }) => name);
    expect(outputs(dinov2(wide)).some((name) => name.startsWith("teacher.backbone.") && name.endsWith("running_mean"))).toBe(true);
    const frozen = outputs(distill({ teacher: wide, students: [{ ...v2, name: "small" }] }));
    expect(frozen.filter((name) => name.startsWith("teacher."))).toEqual([]);
  });

  test("SimCLR learns without a teacher part and moves every parameter", async () => {
    const method = simclr({ ...v2, objective: { temperature: 0.1 } });
    const { results, grads } = await twoSteps(method);
    expect(method.parts.map(({ name }) => name)).toEqual(["student"]);
    expect(results[0]?.parts["loss.simclr"]).toBeGreaterThan(0);
    expect(results[0]?.features.length).toBe(2 * BATCH * 16);
    expect(grads[0]?.some((g) => g !== 0)).toBe(true);
  });
});
