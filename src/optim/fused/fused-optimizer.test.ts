import { afterEach, describe, expect, test } from "vitest";
import { Rng } from "../../core/index.ts";
import { ADAMW_DEFAULTS } from "../adamw.ts";
import type { Clip } from "../clip.ts";
import type { OptimizerConfig } from "../config.ts";
import { LARS_DEFAULTS } from "../lars.ts";
import { FlatParams, makeLayout, type Layout } from "../layout.ts";
import { isDecayed, type ParamGroup } from "../param-groups.ts";
import { referenceStep, type ReferenceParam } from "../reference.ts";
import { SGD_DEFAULTS } from "../sgd.ts";
import { expectNear, GOLDEN_CASES, goldenJson, goldenTensors, hasGolden, type OptimizerGolden } from "../testing/golden.ts";
import { openFusedOptimizer, type FusedOptimizer, type FusedOptions, type FusedStepOptions } from "./fused-optimizer.ts";
import { allocShared } from "./shared-buffers.ts";

const KINDS = ["params", "grads", "mean", "square", "teacher"] as const;
type Flat = { readonly [K in (typeof KINDS)[number]]: FlatParams };

// One parameter of several chunks, one of exactly one, small ones whose ends are not on a cache line.
const LAYOUT = makeLayout([
  { name: "backbone.big.weight", shape: [90, 100] },
  { name: "backbone.big.bias", shape: [100] },
  { name: "dino_head.chunk.weight", shape: [64, 128] },
  { name: "dino_head.last_layer.weight", shape: [7, 3] },
  { name: "backbone.token", shape: [1, 1, 5] },
]);
const GROUPS: readonly ParamGroup[] = LAYOUT.entries.map((entry, i) => ({
  weightDecay: isDecayed(entry),
  lrScale: i === 4 ? 0.5 : 1,
  frozen: false,
  module: entry.name.split(".")[0] ?? "",
}));
const STEP: FusedStepOptions = { lr: 1e-2, weightDecay: 0.1, clip: { kind: "per-parameter", norm: 3 }, emaMomentum: 0.99 };

const opened: FusedOptimizer[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((o) => o[Symbol.asyncDispose]()));
});

function open(options: { readonly config: OptimizerConfig; readonly layout?: Layout } & Partial<FusedOptions>): {
  readonly optimizer: FusedOptimizer;
  readonly flat: Flat;
} {
  const { layout = LAYOUT, groups = GROUPS, threads = 1 } = options;
  const { flat, memory } = allocShared(layout, KINDS);
  const optimizer = openFusedOptimizer({ ...flat, memory, layout, groups, threads, ...options });
  opened.push(optimizer);
  return { optimizer, flat };
}

function fillNormal(flat: FlatParams, path: string): void {
  for (const [name, view] of flat.views()) {
    const rng = new Rng(1, `${path}/${name}`);
    for (let i = 0; i < view.length; i++) view[i] = rng.normal(0, 0.3);
  }
}

function fillStart(flat: Flat): void {
  fillNormal(flat.params, "params");
  fillNormal(flat.teacher, "teacher");
}

/** The bits of all buffers. */
function bitsOf(flat: Flat): Uint32Array[] {
  return KINDS.map((kind) => new Uint32Array(flat[kind].data.slice().buffer));
}

/** Five steps with new gradients each; returns everything that must be equal. */
async function fiveSteps(
  options: { readonly config: OptimizerConfig } & Partial<FusedOptions>,
  step: FusedStepOptions = STEP,
): Promise<Uint32Array[]> {
  const { optimizer, flat } = open(options);
  fillStart(flat);
  for (let i = 0; i < 5; i++) {
    fillNormal(flat.grads, `grads/${i}`);
    await optimizer.step(step);
  }
  return bitsOf(flat);
}

const CONFIGS: readonly (readonly [name: string, config: OptimizerConfig])[] = [
  ["adamw", ADAMW_DEFAULTS],
  ["sgd", SGD_DEFAULTS],
  ["lars", LARS_DEFAULTS],
];

describe.each(CONFIGS)("openFusedOptimizer() with %s", (_, config) => {
  const clips: readonly Clip[] = [
    { kind: "none" },
    { kind: "per-parameter", norm: 3 },
    { kind: "global", norm: 3 },
    { kind: "per-module", norm: 3 },
  ];

  test.each(clips)(
    "equals the float64 reference under clip $kind, with a parameter frozen at first and one at rest later",
    async (clip) => {
      const { optimizer, flat } = open({ config, threads: 2 });
      fillStart(flat);
      const of = (kind: keyof Flat, name: string): Float64Array => Float64Array.from(flat[kind].view(name));
      const reference = LAYOUT.entries.map(({ name, shape, index }): ReferenceParam => {
        const arrays = {
          param: of("params", name),
          grad: of("grads", name),
          mean: of("mean", name),
          square: of("square", name),
          teacher: of("teacher", name),
        };
        return { name, shape, group: GROUPS[index]!, t: 0, ...arrays }; // one group a parameter
      });
      for (let i = 0; i < 3; i++) {
        fillNormal(flat.grads, `grads/${i}`);
        const step = {
          ...STEP,
          clip,
          frozenNow: new Set(i === 0 ? ["dino_head.last_layer.weight"] : []),
          restingNow: new Set(i === 1 ? ["dino_head.chunk.weight"] : []),
        };
        for (const p of reference) p.grad.set(flat.grads.view(p.name));
        const norms = referenceStep(config, reference, step);
        const { gradNorms, globalNorm, applied } = await optimizer.step(step);
        expect(applied).toBe(true);
        expect(globalNorm).toBeCloseTo(Math.hypot(...norms), 8);
        for (const [j, p] of reference.entries()) expect(gradNorms.get(p.name)).toBeCloseTo(norms[j] ?? NaN, 8);
      }
      for (const p of reference) {
        expectNear(flat.params.view(p.name), p.param, `params ${p.name}`);
        expectNear(flat.teacher.view(p.name), p.teacher ?? [], `teacher ${p.name}`);
        expectNear(flat.mean.view(p.name), p.mean, `mean ${p.name}`);
        if (config.kind === "adamw") expectNear(flat.square.view(p.name), p.square, `square ${p.name}`);
      }
      expect(optimizer.stepCounts()["dino_head.last_layer.weight"]).toBe(2);
    },
  );

  test("gives the same bits for one and two threads, in JavaScript and in WebAssembly", async () => {
    const results = await Promise.all([
      fiveSteps({ config, threads: 1, kernel: "wasm" }),
      fiveSteps({ config, threads: 2, kernel: "wasm" }),
      fiveSteps({ config, threads: 1, kernel: "js" }),
      fiveSteps({ config, threads: 2, kernel: "js" }),
    ]);
    for (const other of results.slice(1)) for (const [i, data] of (results[0] ?? []).entries()) expect(other[i]).toEqual(data);
  });

  test("five steps equal two, a copy into new buffers with stepCounts, and three, bit for bit", async () => {
    const whole = await fiveSteps({ config });
    const first = open({ config });
    fillStart(first.flat);
    const run = async ({ optimizer, flat }: typeof first, from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i++) {
        fillNormal(flat.grads, `grads/${i}`);
        await optimizer.step(STEP);
      }
    };
    await run(first, 0, 2);
    const second = open({ config, stepCounts: first.optimizer.stepCounts() });
    for (const kind of KINDS) second.flat[kind].data.set(first.flat[kind].data);
    await run(second, 2, 5);
    expect(bitsOf(second.flat)).toEqual(whole);
  });

  test.each([NaN, Infinity, -Infinity])("reports a gradient of %s and changes nothing", async (bad) => {
    const { optimizer, flat } = open({ config, threads: 2 });
    fillStart(flat);
    fillNormal(flat.grads, "grads");
    flat.grads.view("backbone.big.weight")[8_990] = bad;
    flat.grads.view("backbone.token")[4] = bad;
    const before = bitsOf(flat);
    const { nonFinite, applied } = await optimizer.step(STEP);
    expect(nonFinite).toEqual(["backbone.big.weight", "backbone.token"]);
    expect(applied).toBe(false);
    expect(bitsOf(flat)).toEqual(before);
    expect(optimizer.stepCounts()["backbone.token"]).toBe(0);
  });

  test("leaves frozen parameters and their moments alone, whatever their gradient, and averages their teacher", async () => {
    const frozen = "dino_head.chunk.weight";
    const groups = GROUPS.map((group, i) => (LAYOUT.entries[i]?.name === frozen ? { ...group, frozen: true } : group));
    const { optimizer, flat } = open({ config, groups });
    fillStart(flat);
    fillNormal(flat.grads, "grads");
    flat.grads.view(frozen).fill(NaN);
    const before = flat.params.view(frozen).slice();
    const teacher = flat.teacher.view(frozen).slice();
    const { applied, gradNorms } = await optimizer.step(STEP);
    expect(applied).toBe(true);
    expect(gradNorms.get(frozen)).toBe(0);
    expect(flat.params.view(frozen)).toEqual(before);
    expect(flat.mean.view(frozen).every((x) => x === 0)).toBe(true);
    expectNear(
      flat.teacher.view(frozen),
      teacher.map((t, i) => 0.99 * t + 0.01 * (before[i] ?? NaN)),
      "teacher",
    );
  });
});

describe("openFusedOptimizer() golden", () => {
  test.for(GOLDEN_CASES)("meets %s", async ([name, config, clip], { skip }) => {
    skip(!hasGolden(name));
    const { config: schedule } = goldenJson<OptimizerGolden>(name);
    const tensors = goldenTensors(name);
    const get = (key: string): Float32Array => tensors.get(key)?.data ?? new Float32Array();
    const layout = makeLayout(
      [...tensors].filter(([key]) => key.startsWith("w.")).map(([key, { shape }]) => ({ name: key.slice(2), shape })),
    );
    const groups = layout.entries.map((entry) => ({ weightDecay: isDecayed(entry), lrScale: 1, frozen: false, module: "" }));
    const { optimizer, flat } = open({ config, layout, groups });
    for (const [key, view] of flat.params.views()) view.set(get(`w.${key}`));
    for (const [i, lr] of schedule.lr.entries()) {
      for (const [key, view] of flat.grads.views()) view.set(get(`g.${i}.${key}`));
      await optimizer.step({ lr, weightDecay: schedule.wd[i] ?? 0, clip, emaMomentum: 1 });
      for (const [key, view] of flat.params.views()) expectNear(view, get(`y.${i}.${key}`), `${key} step ${i}`);
    }
  });
});

describe("openFusedOptimizer() contract", () => {
  test("steps without a teacher and takes gradients from the buffer named", async () => {
    const { flat, memory } = allocShared(LAYOUT, ["params", "ping", "pong", "mean"]);
    await using optimizer = openFusedOptimizer({
      config: SGD_DEFAULTS,
      layout: LAYOUT,
      groups: GROUPS,
      params: flat.params,
      grads: [flat.ping, flat.pong],
      mean: flat.mean,
      memory,
      threads: 1,
    });
    flat.pong.view("backbone.token").fill(1);
    await optimizer.step({ lr: 0.5, weightDecay: 0, clip: { kind: "none" }, gradsIndex: 1 });
    expect([...flat.params.view("backbone.token")]).toEqual(Array(5).fill(-0.25)); // lrScale 0.5
    await expect(optimizer.step({ lr: 0.5, weightDecay: 0, clip: { kind: "none" }, gradsIndex: 2 })).rejects.toThrow(
      "there is no gradient buffer 2",
    );
  });

  test("runs the JavaScript kernel on plain shared buffers and refuses WebAssembly there", async () => {
    const plain = Object.fromEntries(KINDS.map((kind) => [kind, new FlatParams(LAYOUT)])) as Flat; // one entry a kind
    await using optimizer = openFusedOptimizer({ ...plain, config: ADAMW_DEFAULTS, layout: LAYOUT, groups: GROUPS, threads: 1 });
    expect(optimizer.kernel).toBe("js");
    expect(() => open({ config: ADAMW_DEFAULTS, ...plain, kernel: "wasm" })).toThrow("use allocShared()");
  });

  test("allocShared() gives zeroed views that do not overlap, in one memory", () => {
    const { flat, memory } = allocShared(LAYOUT, ["a", "b"]);
    flat.a.data.fill(1);
    expect(flat.b.data.every((x) => x === 0)).toBe(true);
    expect([flat.a.data.buffer, flat.b.data.buffer]).toEqual([memory?.buffer, memory?.buffer]);
  });

  test("clears padding written by the caller", async () => {
    const { flat, memory } = allocShared(LAYOUT, KINDS);
    flat.grads.data.fill(1);
    await using optimizer = openFusedOptimizer({ ...flat, memory, config: ADAMW_DEFAULTS, layout: LAYOUT, groups: GROUPS, threads: 1 });
    const { gradNorms } = await optimizer.step(STEP);
    expect(gradNorms.get("backbone.token")).toBeCloseTo(Math.sqrt(5), 10);
  });

  test("refuses wrong numbers, unknown names, two steps at once and a closed optimizer", async () => {
    const { optimizer } = open({ config: ADAMW_DEFAULTS });
    await expect(optimizer.step({ ...STEP, lr: NaN })).rejects.toThrow("Cannot step: lr is NaN; give a finite number of 0 or more");
    await expect(optimizer.step({ lr: 1, weightDecay: 0, clip: { kind: "none" } })).rejects.toThrow(
      "there is a teacher and no emaMomentum",
    );
    await expect(optimizer.step({ ...STEP, frozenNow: new Set(["backbone.tokens"]) })).rejects.toThrow('did you mean "backbone.token"?');
    const running = optimizer.step(STEP);
    await expect(optimizer.step(STEP)).rejects.toThrow("the step before has not ended");
    await running;
    await optimizer[Symbol.asyncDispose]();
    await expect(optimizer.step(STEP)).rejects.toThrow("the optimizer is closed");
    expect(() => open({ config: ADAMW_DEFAULTS, threads: 0 })).toThrow("0 threads");
    expect(() => open({ config: ADAMW_DEFAULTS, groups: [] })).toThrow("0 groups for 5 parameters");
    expect(() => open({ config: { ...ADAMW_DEFAULTS, eps: 0 } })).toThrow("eps is not above 0");
  });
});
