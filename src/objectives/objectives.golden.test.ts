import { describe, expect, test } from "vitest";
import { expectClose, goldenPart, goldenTensor, goldenTolerance, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { gradients } from "../engine/grad/index.ts";
import { runGraph } from "../engine/testing/run-graph.ts";
import { add, Builder, reshape, slice } from "../engine/trace/index.ts";
import { centeredTargets, dinoLoss, koleo, nextCenter, sinkhornTargets } from "./index.ts";

describe("objectives meet the reference", () => {
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

  test.for(["sinkhorn_wide", "sinkhorn_tall", "sinkhorn_sharp", "sinkhorn_square_1it"])("sinkhornTargets(): %s", async (name, { skip }) => {
    skip(!hasGolden("losses", name));
    const golden = loadGolden("losses", name);
    const config = golden.json["config"] as { temp: number; iterations: number }; // our own reference file
    const x = goldenTensor(golden, "x");
    const builder = new Builder();
    builder.output("q", sinkhornTargets(builder.input("x", x.shape), builder.input("temp", []), { iterations: config.iterations }));
    const y = await runGraph(
      builder,
      new Map<string, Parameters<typeof expectClose>[0]>([
        ["x", x],
        ["temp", [config.temp]],
      ]),
    );
    expectClose(y.get("q") ?? [], goldenTensor(golden, "y.float64"), goldenTolerance(golden));
  });

  test.for(["koleo", "koleo_duplicates", "koleo_groups"])("koleo(): %s", async (name, { skip }) => {
    skip(!hasGolden("losses", name));
    const golden = loadGolden("losses", name);
    const x = goldenTensor(golden, "x");
    const builder = new Builder();
    const features = builder.input("x", x.shape);
    const { group } = golden.json["config"] as { readonly group?: number }; // our own reference file
    const loss = koleo(features, group === undefined ? {} : { groupSize: group });
    builder.output("loss", loss);
    const [g] = gradients(loss, [features]);
    if (g !== undefined) builder.output("g", g);
    const y = await runGraph(builder, new Map([["x", x]]));
    const tolerance = goldenTolerance(golden);
    expectClose(y.get("loss") ?? [], goldenTensor(golden, "y.loss").data as Float32Array, { ...tolerance, what: "loss" });
    for (const [key, t] of goldenPart(golden, "g.")) expectClose(y.get("g") ?? [], t, { ...tolerance, what: `gradient of ${key}` });
  });
});
