import { describe, expect, test } from "vitest";
import { expectClose, type GoldenCase, goldenTensor, goldenTolerance, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { gradients } from "../engine/grad/index.ts";
import { runGraph } from "../engine/testing/run-graph.ts";
import { add, Builder, mul, reshape, slice } from "../engine/trace/index.ts";
import { centeredTargets, dinoLoss, nextCenter, sinkhornTargets } from "./index.ts";
import { RUNNERS, runObjective } from "./testing/run.ts";

describe("dinoLoss() meets DINO's loss", () => {
  test.for(["dino_centering", "dino_two_views"])("dinoLoss() and nextCenter(): %s", async (name, { skip }) => {
    skip(!hasGolden("losses", name));
    const golden = loadGolden("losses", name);
    const steps = [...golden.tensors.keys()].filter((k) => k.endsWith(".student") && k.startsWith("x.")).length;
    expect(steps).toBeGreaterThan(0);
    for (let i = 0; i < steps; i++) {
      const x = goldenTensor(golden, `x.${i}.student`);
      const [v = 2, b = 1, k = 1] = x.shape;
      const builder = new Builder();
      const [student, teacher, temp, center] = [
        builder.input("student", [v, b, k]),
        builder.input("teacher", [2, b, k]),
        builder.input("temp", []),
        builder.input("center", [1, k]),
      ];
      const rows = reshape(teacher, [2 * b, k]);
      const q = reshape(centeredTargets(rows, center, temp), [2, b, k]);
      const options = { studentTemp: 0.1, pairs: 2 * (v - 1) };
      const globals = dinoLoss(slice(student, 0, [0, 2]), q, { ...options, skipDiagonal: true });
      const loss = v > 2 ? add(globals, dinoLoss(slice(student, 0, [2, v]), q, { ...options, skipDiagonal: false })) : globals;
      builder.output("loss", loss);
      builder.output("center", nextCenter(center, rows, 0.9));
      const [g] = gradients(loss, [student]);
      if (g !== undefined) builder.output("g", g);
      const y = await runGraph(
        builder,
        new Map([
          ["student", x],
          ["teacher", goldenTensor(golden, `x.${i}.teacher`)],
          ["temp", goldenTensor(golden, `x.${i}.teacher_temp`)],
          ["center", goldenTensor(golden, `center.${i}.before`)],
        ]),
      );
      const tolerance = goldenTolerance(golden);
      expectClose(y.get("loss") ?? [], goldenTensor(golden, `y.${i}.loss`).data as Float32Array, { ...tolerance, what: `loss ${i}` });
      expectClose(y.get("center") ?? [], goldenTensor(golden, `y.${i}.center`).data as Float32Array, { ...tolerance, what: `centre ${i}` });
      expectClose(y.get("g") ?? [], goldenTensor(golden, `g.${i}.student`), { ...tolerance, what: `gradient ${i}` });
    }
  });
});

interface ClsConfig {
  readonly batch: number;
  readonly locals: number;
  readonly k: number;
  readonly teacher_temp: number;
  readonly local_weight?: number;
}

const configOf = (golden: GoldenCase): ClsConfig => golden.json["config"] as ClsConfig; // our own reference file

const MODES = ["softmax_center", "sinkhorn_knopp"] as const;

describe("dinoLoss() meets DINOv2's and DINOv3's class-token loss", () => {
  const cases = MODES.flatMap((mode) => RUNNERS.map((runner) => ({ mode, runner })));
  test.skipIf(!hasGolden("losses", "dinov2_cls")).each(cases)("DINOv2, $mode, $runner", async ({ mode, runner }) => {
    const golden = loadGolden("losses", "dinov2_cls");
    const { batch: b, locals, k, teacher_temp: temp } = configOf(golden);
    const y = await runObjective(
      ({ input }) => {
        const [logits, center, t] = [input("teacher", [2 * b, k]), input("center", [1, k]), input("temp", [])];
        const rows = mode === "softmax_center" ? centeredTargets(logits, center, t) : sinkhornTargets(logits, t);
        const targets = reshape(rows, [2, b, k]);
        const options = { studentTemp: 0.1, pairs: 2 * (locals + 1) };
        const global = dinoLoss(reshape(input("student_global", [2 * b, k]), [2, b, k]), targets, { ...options, skipDiagonal: true });
        const student = reshape(input("student_local", [locals * b, k]), [locals, b, k]);
        const local = dinoLoss(student, targets, { ...options, skipDiagonal: false });
        return { loss: add(global, local), global, local, targets, center: nextCenter(center, logits, 0.9) };
      },
      {
        values: {
          teacher: goldenTensor(golden, "x.teacher"),
          center: goldenTensor(golden, "x.center"),
          temp: [temp],
          student_global: goldenTensor(golden, "x.student_global"),
          student_local: goldenTensor(golden, "x.student_local"),
        },
        wrt: ["student_global", "student_local"],
        runner,
      },
    );
    const tolerance = goldenTolerance(golden);
    const close = (mine: string, reference: string): void =>
      expectClose(y.get(mine), goldenTensor(golden, reference).data as Float32Array, { ...tolerance, what: reference });
    close("global", `y.${mode}.global`);
    close("local", `y.${mode}.local`);
    close("g.student_global", `g.${mode}.student_global`);
    close("g.student_local", `g.${mode}.student_local`);
    if (mode === "softmax_center") close("center", "y.center_after");
    // the reference keeps the second crop's targets first, so that row j is the partner of the student's row j
    const ours = Array.from(y.get("targets"));
    expectClose(
      [...ours.slice(b * k), ...ours.slice(0, b * k)],
      goldenTensor(golden, `y.${mode}.targets_swapped`).data as Float32Array,
      tolerance,
    );
  });

  test.skipIf(!hasGolden("losses", "dinov3_cls")).each(RUNNERS)("DINOv3, locals re-weighted by an input, %s", async (runner) => {
    const golden = loadGolden("losses", "dinov3_cls");
    const { batch: b, locals, k, teacher_temp: temp, local_weight: weight = 1 } = configOf(golden);
    expect(weight).not.toBe(1);
    const y = await runObjective(
      ({ input }) => {
        const targets = reshape(sinkhornTargets(reshape(input("teacher", [2, b, k]), [2 * b, k]), input("temp", [])), [2, b, k]);
        const [globals, crops] = [input("student_global", [2, b, k]), input("student_local", [locals, b, k])];
        const of = (pairs: number): { studentTemp: number; pairs: number } => ({ studentTemp: 0.1, pairs });
        const all = of(2 * (locals + 1));
        const local = mul(dinoLoss(crops, targets, { ...all, skipDiagonal: false }), input("local_weight", []));
        return {
          targets,
          loss: add(dinoLoss(globals, targets, { ...all, skipDiagonal: true }), local),
          global: dinoLoss(globals, targets, { ...of(2), skipDiagonal: true }), // means over the pairs of their own kind
          local: dinoLoss(crops, targets, { ...of(2 * locals), skipDiagonal: false }),
        };
      },
      {
        values: {
          teacher: goldenTensor(golden, "x.teacher"),
          temp: [temp],
          local_weight: [weight],
          student_global: goldenTensor(golden, "x.student_global"),
          student_local: goldenTensor(golden, "x.student_local"),
        },
        wrt: ["student_global", "student_local"],
        runner,
      },
    );
    const tolerance = goldenTolerance(golden);
    for (const [mine, reference] of Object.entries({
      targets: "y.targets",
      loss: "y.total",
      global: "y.global",
      local: "y.local",
      "g.student_global": "g.student_global",
      "g.student_local": "g.student_local",
    }))
      expectClose(y.get(mine), goldenTensor(golden, reference).data as Float32Array, { ...tolerance, what: reference });
  });
});
