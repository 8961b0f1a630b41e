import { describe, expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { dino, type DinoConfig } from "../methods/index.ts";
import { Stepper, type StepperOptions, type StepResult } from "./stepper.ts";

const BATCH = 8;
const base: DinoConfig = {
  backbone: { width: 16, depth: 3, heads: 2, imageSizePx: 16, patchSizePx: 4, mlpRatio: 4, layerNormEps: 1e-6, posInterpolation: "size" },
  head: { width: 16, hidden: 32, bottleneck: 16, prototypes: 32, layers: 3, batchNorm: false, normLastLayer: true },
  crops: { globalSizePx: 16, localSizePx: 8, localCount: 3 },
  objective: { centering: "ema", centerMomentum: 0.9, sinkhornIterations: 3, koleoWeight: 0, studentTemp: 0.1 },
  dropPath: 0.2,
  batchSize: BATCH,
  microBatchSize: BATCH,
};

function floats(name: string, length: number): Float32Array {
  const rng = new Rng(4).split(name);
  return Float32Array.from({ length }, () => rng.normal());
}

/** Two steps from the same start; the second one's loss, gradients and state depend on all that the first one did. */
async function twoSteps(
  config: DinoConfig,
  options: Partial<StepperOptions> = {},
): Promise<{
  readonly results: readonly StepResult[];
  readonly grads: Float32Array;
  readonly params: Float32Array;
  readonly center: Float32Array;
}> {
  using device = openCpu({ threads: 2 });
  const optimizer = { kind: "adamw", beta1: 0.9, beta2: 0.999, eps: 1e-8 } as const;
  await using stepper = new Stepper({ method: dino(config), device, optimizer, threads: 2, ...options });
  const rng = new Rng(9);
  stepper.init(rng.split("init"));
  const results: StepResult[] = [];
  for (let step = 0; step < 2; step++) {
    const globals = floats(`globals ${step}`, 2 * BATCH * 3 * 16 * 16);
    const locals = floats(`locals ${step}`, 3 * BATCH * 3 * 8 * 8);
    const scalars = {
      lr: 1e-3,
      weightDecay: 0.04,
      emaMomentum: 0.9,
      teacherTemp: 0.05,
      clip: { kind: "global", norm: 1 },
      freezeLastLayer: step === 0,
    } as const;
    results.push(await stepper.step({ globals, locals, step, rng, scalars }));
  }
  const { grads, grads2, params } = stepper.flats;
  const last = config.batchSize / config.microBatchSize === 2 ? grads2 : grads; // the second micro-batch writes the other half
  const center = stepper.state.get("center") ?? new Float32Array();
  return { results, grads: (last ?? grads).data.slice(), params: params.data.slice(), center: center.slice() };
}

/** Largest difference over the largest value of the reference. */
function relative(a: Float32Array, b: Float32Array): number {
  let [difference, scale] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference = Math.max(difference, Math.abs((a[i] ?? NaN) - (b[i] ?? NaN)));
    scale = Math.max(scale, Math.abs(b[i] ?? NaN));
  }
  return difference / scale;
}

describe("Stepper", () => {
  test.each([
    ["EMA centre", base],
    ["Sinkhorn-Knopp", { ...base, objective: { ...base.objective, centering: "sinkhorn" } }],
  ] as const)("micro-batches give the loss and the gradients of the whole batch: %s", async (_, config) => {
    const whole = await twoSteps(config);
    for (const microBatchSize of [4, 2]) {
      const parted = await twoSteps({ ...config, microBatchSize });
      whole.results.forEach((r, i) => {
        const other = parted.results[i];
        expect(Math.abs((other?.loss ?? NaN) - r.loss) / r.loss, `loss of step ${i}`).toBeLessThan(1e-5);
        for (const [name, value] of Object.entries(r.parts)) expect(other?.parts[name], name).toBeCloseTo(value, 4);
        expect(other?.teacherEntropy).toBeCloseTo(r.teacherEntropy, 5);
      });
      expect(relative(parted.center, whole.center) || 0, "centre").toBeLessThan(1e-5);
      expect(parted.grads.some((g) => g !== 0)).toBe(true);
      if (microBatchSize === 4) expect(relative(parted.grads, whole.grads), "gradients").toBeLessThan(5e-5);
    }
  });

  test("activation checkpointing changes the cut and no number", async () => {
    const [plain, thrifty] = [await twoSteps(base), await twoSteps(base, { checkpointing: true })];
    expect(thrifty.results.map((r) => r.loss)).toEqual(plain.results.map((r) => r.loss));
    expect(relative(thrifty.grads, plain.grads)).toBe(0);
    expect(relative(thrifty.params, plain.params)).toBe(0);
  });

  test("checkpointing needs less memory between stages", () => {
    using device = openCpu({ threads: 1 });
    const optimizer = { kind: "sgd", momentum: 0.9 } as const;
    const config = { ...base, backbone: { ...base.backbone, depth: 8 } };
    const bytes = [false, true].map(
      (checkpointing) => new Stepper({ method: dino(config), device, optimizer, threads: 1, checkpointing }).arenaBytes,
    );
    expect(bytes[1]).toBeLessThan(0.7 * (bytes[0] ?? 0));
  });

  test("micro-batches need less memory between stages, however many there are", () => {
    using device = openCpu({ threads: 1 });
    const optimizer = { kind: "sgd", momentum: 0.9 } as const;
    const [whole = 0, halves = 0, quarters = 0] = [BATCH, BATCH / 2, BATCH / 4].map(
      (microBatchSize) => new Stepper({ method: dino({ ...base, microBatchSize }), device, optimizer, threads: 1 }).arenaBytes,
    );
    expect(halves).toBeLessThan(0.6 * whole);
    expect(quarters).toBeLessThan(0.6 * halves);
  });

  test("the number of threads changes no bit of the optimizer's work, and the last layer waits while frozen", async () => {
    const frozen = { ...base, head: { ...base.head, normLastLayer: false } };
    const [one, two] = [await twoSteps(frozen, { threads: 1 }), await twoSteps(frozen, { threads: 2 })];
    expect(relative(one.params, two.params)).toBe(0);
  });

  test("an abort leaves parameters, teacher and state as they were", async () => {
    using device = openCpu({ threads: 1 });
    await using stepper = new Stepper({ method: dino(base), device, optimizer: { kind: "sgd", momentum: 0.9 }, threads: 1 });
    stepper.init(new Rng(1));
    const before = [stepper.flats.params.data.slice(), stepper.flats.teacher.data.slice(), stepper.state.get("center")?.slice()];
    const stop = new AbortController();
    stop.abort();
    const inputs = { globals: floats("g", 2 * BATCH * 768), locals: floats("l", 3 * BATCH * 192), step: 0, rng: new Rng(1) };
    const scalars = { lr: 1, weightDecay: 0, emaMomentum: 0, teacherTemp: 0.04, clip: { kind: "none" }, freezeLastLayer: false } as const;
    await expect(stepper.step({ ...inputs, scalars, signal: stop.signal })).rejects.toThrow(/abort/i);
    expect([stepper.flats.params.data, stepper.flats.teacher.data, stepper.state.get("center")]).toEqual(before);
  });
});
