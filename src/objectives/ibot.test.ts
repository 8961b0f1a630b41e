import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { expectClose, goldenTensor, goldenTolerance, hasGolden, loadGolden } from "../core/testing/golden.ts";
import { Builder } from "../engine/trace/index.ts";
import { centeredTargets, ibotLoss, nextCenter, sinkhornTargets } from "./index.ts";
import { RUNNERS, runObjective } from "./testing/run.ts";

interface IbotConfig {
  readonly images: number;
  readonly k: number;
  readonly n_masked: number;
  readonly padded_rows: number;
  readonly teacher_temp: number;
}

/** The list followed by `rows` rows of a number that must not matter. */
const padded = (data: ArrayLike<number>, rows: number, { k, by }: { k: number; by: number }): number[] => [
  ...Array.from(data),
  ...Array<number>(rows * k).fill(by),
];

describe("ibotLoss() meets the reference, its list padded", () => {
  const modes = ["softmax_center", "sinkhorn_knopp"] as const;
  const cases = ["ibot_centering", "ibot_dense"].flatMap((name) =>
    modes.flatMap((mode) => [0, 5].flatMap((pad) => RUNNERS.map((runner) => ({ name, mode, pad, runner })))),
  );
  test.for(cases)("$name, $mode, $pad rows of padding, $runner", async ({ name, mode, pad, runner }, { skip }) => {
    skip(!hasGolden("losses", name));
    const golden = loadGolden("losses", name);
    const { images, k, n_masked: m, padded_rows, teacher_temp } = golden.json["config"] as IbotConfig; // our own reference file
    const rows = m + pad;
    const y = await runObjective(
      ({ input }) => {
        const [logits, center, temp] = [input("teacher", [rows, k]), input("center", [1, k]), input("temp", [])];
        const list = { valid: input("valid", [rows]), count: input("count", []) };
        const targets = mode === "softmax_center" ? centeredTargets(logits, center, temp, list) : sinkhornTargets(logits, temp, list);
        const options = { weights: input("weights", [rows]), studentTemp: 0.1, images };
        return {
          loss: ibotLoss(input("student", [rows, k]), targets, options),
          targets,
          center: nextCenter(center, logits, 0.9, list),
        };
      },
      {
        values: {
          teacher: padded(goldenTensor(golden, "x.teacher").data as Float32Array, pad, { k, by: 3 }),
          student: padded((goldenTensor(golden, "x.student").data as Float32Array).subarray(0, m * k), pad, { k, by: -1 }),
          weights: padded(goldenTensor(golden, "masks_weight").data as Float32Array, pad, { k: 1, by: 0 }),
          valid: padded(Array<number>(m).fill(1), pad, { k: 1, by: 0 }),
          count: [m],
          center: goldenTensor(golden, "x.center"),
          temp: [teacher_temp],
        },
        wrt: ["student"],
        runner,
      },
    );
    const tolerance = goldenTolerance(golden);
    const reference = (key: string): Float32Array => goldenTensor(golden, key).data as Float32Array;
    expectClose(y.get("loss"), reference(`y.${mode}.loss`), { ...tolerance, what: "loss" });
    expectClose(y.get("targets"), padded(reference(`y.${mode}.targets`), pad, { k, by: 0 }), { ...tolerance, what: "targets" });
    const gradient = reference(`g.${mode}.student`);
    expect([...gradient.subarray(m * k)]).toEqual(Array<number>(padded_rows * k).fill(0));
    expectClose(y.get("g.student"), padded(gradient.subarray(0, m * k), pad, { k, by: 0 }), { ...tolerance, what: "gradient" });
    if (mode === "softmax_center") expectClose(y.get("center"), reference("y.center_after"), { ...tolerance, what: "centre" });
  });

  test.for(["ibot_centering", "ibot_dense"])("lightly's own loss, centre 0: %s", async (name, { skip }) => {
    skip(!hasGolden("losses", name));
    const golden = loadGolden("losses", name);
    const { images, k, n_masked: m, teacher_temp } = golden.json["config"] as IbotConfig; // our own reference file
    const y = await runObjective(
      ({ input }) => {
        const [logits, center] = [input("teacher", [m, k]), input("center", [1, k])];
        const targets = centeredTargets(logits, center, input("temp", []));
        const options = { weights: input("weights", [m]), studentTemp: 0.1, images };
        return { loss: ibotLoss(input("student", [m, k]), targets, options), center: nextCenter(center, logits, 0.9) };
      },
      {
        values: {
          teacher: goldenTensor(golden, "x.teacher"),
          student: (goldenTensor(golden, "x.student").data as Float32Array).subarray(0, m * k),
          weights: goldenTensor(golden, "masks_weight"),
          center: Array<number>(k).fill(0),
          temp: [teacher_temp],
        },
        wrt: ["student"],
      },
    );
    for (const [mine, key] of Object.entries({ loss: "loss", center: "center", "g.student": "g.student" })) {
      const reference = key === "g.student" ? "g.lightly_zero_center.student" : `y.lightly_zero_center.${key}`;
      const wanted = (goldenTensor(golden, reference).data as Float32Array).subarray(0, y.get(mine).length);
      expectClose(y.get(mine), wanted, { ...goldenTolerance(golden), what: reference });
    }
  });
});

/** The loss as it is written down. */
function naiveIbot(
  student: number[][],
  teacher: number[][],
  { weights, temp, images }: { weights: number[]; temp: number; images: number },
): number {
  let loss = 0;
  student.forEach((s, j) => {
    const total = Math.log(s.reduce((a, x) => a + Math.exp(x / temp), 0));
    s.forEach((x, c) => (loss -= ((weights[j] ?? 0) * (teacher[j]?.[c] ?? 0) * (x / temp - total)) / images));
  });
  return loss;
}

const lossOf = async (
  student: number[][],
  teacher: number[][],
  o: { weights: number[]; temp: number; images: number },
): Promise<number> => {
  const shape = [student.length, student[0]?.length ?? 1];
  const y = await runObjective(
    ({ input }) => ({
      loss: ibotLoss(input("s", shape), input("t", shape), {
        weights: input("w", [student.length]),
        studentTemp: o.temp,
        images: o.images,
      }),
    }),
    { values: { s: student.flat(), t: teacher.flat(), w: o.weights } },
  );
  return y.get("loss")[0] ?? Number.NaN;
};

test("ibotLoss() of the specification's example T18", async () => {
  const teacher = [
    [0.7, 0.3],
    [0.2, 0.8],
    [0.5, 0.5],
  ];
  const student = [
    [0.1, 0],
    [0, 0.2],
    [0.05, 0.05],
  ];
  expect(await lossOf(student, teacher, { weights: [0.5, 0.5, 1], temp: 0.1, images: 4 })).toBeCloseTo(0.3158105, 6);
});

test("ibotLoss() is its naive loop", async () => {
  const row = fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 3, maxLength: 3 });
  const cases = fc.array(fc.tuple(row, row, fc.double({ min: 0, max: 1, noNaN: true })), { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(cases, fc.integer({ min: 1, max: 9 }), async (list, images) => {
      const options = { weights: list.map(([, , w]) => w), temp: 0.1, images };
      const [student, teacher] = [list.map(([s]) => s), list.map(([, t]) => t)];
      expectClose([await lossOf(student, teacher, options)], [naiveIbot(student, teacher, options)], { atol: 1e-9, rtol: 1e-6 });
    }),
    { numRuns: 30 },
  );
});

test("ibotLoss() refuses lists that do not fit and numbers that are not above 0", () => {
  const b = new Builder();
  const [s, t, w] = [b.input("s", [4, 3]), b.input("t", [4, 3]), b.input("w", [4])];
  const options = { weights: w, studentTemp: 0.1, images: 2 };
  expect(() => ibotLoss(s, b.input("short", [3, 3]), options)).toThrow(/Cannot read float32\[3,3\] as "4 3"/);
  expect(() => ibotLoss(s, t, { ...options, weights: b.input("few", [3]) })).toThrow(/Cannot read float32\[3\] as "4"/);
  expect(() => ibotLoss(s, t, { ...options, studentTemp: 0 })).toThrow("Cannot take iBOT's loss: studentTemp is 0; give a number above 0");
  expect(() => ibotLoss(s, t, { ...options, images: Number.NaN })).toThrow(/images is NaN/);
});
