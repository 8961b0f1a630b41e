import { describe, test } from "vitest";
import { ema } from "./ema.ts";
import { F64_OPS } from "./ops.ts";
import { isDecayed } from "./param-groups.ts";
import { referenceStep, type ReferenceParam } from "./reference.ts";
import { expectNear, GOLDEN_CASES, goldenJson, goldenTensors, hasGolden, type OptimizerGolden } from "./testing/golden.ts";

const STATE_NAMES: Readonly<Record<string, "mean" | "square">> = {
  exp_avg: "mean",
  exp_avg_sq: "square",
  momentum_buffer: "mean",
  mu: "mean",
};

describe("referenceStep()", () => {
  test.for(GOLDEN_CASES)("meets %s for five steps", ([name, config, clip], { skip }) => {
    skip(!hasGolden(name));
    const { config: schedule, grad_norms } = goldenJson<OptimizerGolden>(name);
    const tensors = goldenTensors(name);
    const get = (key: string): Float32Array => tensors.get(key)?.data ?? new Float32Array();
    const params = [...tensors]
      .filter(([key]) => key.startsWith("w."))
      .map(([key, { shape, data }]): ReferenceParam => {
        const inner = key.slice(2);
        const group = { weightDecay: isDecayed({ name: inner, shape }), lrScale: 1, frozen: false, module: "" };
        const zeros = (): Float64Array => new Float64Array(data.length);
        return { name: inner, shape, group, param: Float64Array.from(data), grad: zeros(), mean: zeros(), square: zeros(), t: 0 };
      });
    const norms: number[] = [];
    for (const [i, lr] of schedule.lr.entries()) {
      for (const p of params) p.grad.set(get(`g.${i}.${p.name}`));
      const stepNorms = referenceStep(config, params, { lr, weightDecay: schedule.wd[i] ?? 0, clip });
      norms.push(...(clip.kind === "global" ? [Math.hypot(...stepNorms)] : []));
      for (const p of params) expectNear(p.param, get(`y.${i}.${p.name}`), `${name} step ${i} ${p.name}`);
    }
    if (clip.kind === "global") expectNear(norms, Float32Array.from(grad_norms), "gradient norms");
    for (const key of tensors.keys()) {
      const [, state, inner] = /^state\.([^.]+)\.(.+)$/.exec(key) ?? [];
      const field = STATE_NAMES[state ?? ""];
      if (field !== undefined) expectNear(params.find((p) => p.name === inner)?.[field] ?? [], get(key), key);
    }
  });

  test.skipIf(!hasGolden("ema"))("ema() meets lightly's update_momentum", () => {
    const tensors = goldenTensors("ema");
    const { config } = goldenJson<{ readonly config: { readonly momentum: readonly number[] } }>("ema");
    for (const [key, { data }] of [...tensors].filter(([k]) => k.startsWith("teacher."))) {
      const name = key.slice("teacher.".length);
      const student = tensors.get(`student.${name}`)?.data ?? new Float32Array();
      const teacher = Float64Array.from(data);
      for (const [i, m] of config.momentum.entries()) {
        for (const [j, param] of student.entries()) teacher[j] = ema(F64_OPS, { teacher: teacher[j] ?? NaN, param }, 1 - m);
        expectNear(teacher, tensors.get(`y.${i}.${name}`)?.data ?? new Float32Array(), `${name} ${i}`);
      }
    }
  });
});
