import { expect, test } from "vitest";
import { expectClose } from "../core/testing/golden.ts";
import { add, Builder } from "../engine/trace/index.ts";
import { centeredTargets, nextCenter } from "./index.ts";
import { RUNNERS, runObjective } from "./testing/run.ts";

const CENTER = [0.5, -1, 2];
const ROWS = [1, 2, 3, -1, 0, 4, 7, 7, 7];

test.each(RUNNERS)("nextCenter() averages the rows that count only, %s", async (runner) => {
  const y = await runObjective(
    ({ input }) => {
      const [center, x] = [input("center", [1, 3]), input("x", [3, 3])];
      const [valid, none] = [input("valid", [3]), input("none", [3])];
      return {
        two: nextCenter(center, x, 0.9, { valid }),
        counted: nextCenter(center, x, 0.9, { valid, count: input("count", []) }),
        all: nextCenter(center, x, 0.9),
        alone: nextCenter(center, x, 0.9, { allReduce: (t) => t }),
        none: nextCenter(center, x, 0.9, { valid: none }),
        twice: nextCenter(center, x, 0.9, { valid, allReduce: (t) => add(t, t) }), // two processes with the same rows
      };
    },
    { values: { center: CENTER, x: ROWS, valid: [1, 1, 0], none: [0, 0, 0], count: [2] }, runner },
  );
  const towards = (mean: readonly number[]): number[] => CENTER.map((c, i) => 0.9 * c + 0.1 * (mean[i] ?? 0));
  const tolerance = { atol: 1e-6, rtol: 1e-6 };
  for (const name of ["two", "counted", "twice"]) expectClose(y.get(name), towards([0, 1, 3.5]), { ...tolerance, what: name });
  for (const name of ["all", "alone"]) expectClose(y.get(name), towards([7 / 3, 3, 14 / 3]), { ...tolerance, what: name });
  expectClose(y.get("none"), CENTER, { ...tolerance, what: "no row" });
});

test("nextCenter() of two processes is that of one with the rows of both", async () => {
  const half = (rows: number[], other: number[], otherCount: number): Promise<ArrayLike<number>> =>
    runObjective(
      ({ input }) => {
        // what the other process sends: its count first, then its sum
        const heard = [input("heard.count", []), input("heard.sum", [1, 3])];
        let sums = 0;
        const center = nextCenter(input("center", [1, 3]), input("x", [rows.length / 3, 3]), 0.8, {
          allReduce: (t) => add(t, heard[sums++] ?? t),
        });
        return { center };
      },
      { values: { center: CENTER, x: rows, "heard.count": [otherCount], "heard.sum": other } },
    ).then((y) => y.get("center"));
  const joined = CENTER.map((c, i) => 0.8 * c + 0.2 * ([7 / 3, 3, 14 / 3][i] ?? 0));
  expectClose(await half(ROWS.slice(0, 3), [6, 7, 11], 2), joined, { atol: 1e-9, rtol: 1e-7 });
  expectClose(await half(ROWS.slice(3), [1, 2, 3], 1), joined, { atol: 1e-9, rtol: 1e-7 });
});

test("centeredTargets() gives zeros for padding and leaves the other rows as they are", async () => {
  const y = await runObjective(
    ({ input }) => {
      const [x, center, temp] = [input("x", [3, 3]), input("center", [1, 3]), input("temp", [])];
      return { all: centeredTargets(x, center, temp), some: centeredTargets(x, center, temp, { valid: input("valid", [3]) }) };
    },
    { values: { x: ROWS, center: CENTER, temp: [0.5], valid: [1, 0, 1] } },
  );
  const all = Array.from(y.get("all"));
  expect(all.slice(0, 3).reduce((a, b) => a + b)).toBeCloseTo(1, 9);
  expect(Array.from(y.get("some"))).toEqual([...all.slice(0, 3), 0, 0, 0, ...all.slice(6)]);
});

test("centeredTargets() and nextCenter() refuse a centre and a list that do not fit", () => {
  const b = new Builder();
  const [x, center, temp] = [b.input("x", [3, 4]), b.input("center", [1, 3]), b.input("temp", [])];
  expect(() => centeredTargets(x, center, temp)).toThrow(/Cannot read float32\[1,3\] as "1 4"/);
  expect(() => nextCenter(center, x, 0.9)).toThrow(/Cannot read float32\[1,3\] as "1 4"/);
  expect(() => centeredTargets(x, b.input("fits", [1, 4]), temp, { valid: b.input("valid", [2]) })).toThrow(/as "3"/);
});
