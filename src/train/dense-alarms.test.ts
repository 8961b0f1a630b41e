import { expect, test } from "vitest";
import { DenseMonitor, type DenseReading } from "./dense-alarms.ts";

const names = (monitor: DenseMonitor, readings: readonly DenseReading[]): readonly string[] =>
  readings.map((reading) =>
    monitor
      .read(reading)
      .map(({ name }) => name)
      .join(),
  );

test("DenseMonitor sounds once after patience looks in a row, not in the quiet steps, and again after it stopped", () => {
  const monitor = new DenseMonitor({ patience: 2, quietSteps: 10 });
  const alike = (step: number): DenseReading => ({ step, similarity: 0.99 });
  expect(names(monitor, [5, 10, 11, 12, 13].map(alike))).toEqual(["", "", "", "dense-collapse", ""]);
  expect(names(monitor, [{ step: 14, similarity: 0.5 }, alike(15), { step: 16 }, alike(17)])).toEqual(["", "", "", "dense-collapse"]);
});

test.each([
  ["dense-collapse", [{ similarity: 0.97 }], /mean cosine of 0\.97; .*; use a method with a patch objective/],
  ["patches-follow-cls", [{ clsPatch: 0.2 }, { clsPatch: 0.7 }], /cosine of 0\.70 with the class token, up from 0\.20; .*--stage gram/],
  [
    "dense-decay",
    [{ patchTop1: 0.5 }, { patchTop1: 0.6 }, { patchTop1: 0.5 }],
    /Patch k-NN is 50\.0 %, down from 60\.0 % at step 101; .*--stage gram/,
  ],
] as const)("DenseMonitor sounds %s, and says what it means and what to try", (name, readings, text) => {
  const monitor = new DenseMonitor({ patience: 1, quietSteps: 0 });
  const alarms = readings.flatMap((reading, i) => monitor.read({ step: 100 + i, ...reading }));
  expect(alarms).toHaveLength(1);
  expect(alarms[0]).toMatchObject({ name, step: 100 + readings.length - 1 });
  expect(alarms[0]?.text).toMatch(text);
  expect(alarms[0]?.text.split("; ")).toHaveLength(3); // seen; meaning; remedy
});

test("DenseMonitor is calm where features are healthy, vary a little, or are not finite", () => {
  const monitor = new DenseMonitor({ patience: 1, quietSteps: 0 });
  const readings = [
    { step: 1, similarity: 0.9, clsPatch: 0.7, patchTop1: 0.5 },
    { step: 2, similarity: 0.3, clsPatch: 0.75, patchTop1: 0.6 },
    { step: 3, similarity: 0.4, clsPatch: 0.8, patchTop1: 0.58 },
    { step: 4, similarity: NaN, clsPatch: NaN, patchTop1: NaN },
    { step: 5, similarity: 0.4, clsPatch: 0.8, patchTop1: 0.59 },
  ];
  expect(names(monitor, readings)).toEqual(["", "", "", "", ""]);
});
