import { expect, test } from "vitest";
import { CollapseMonitor } from "./alarms.ts";

test("CollapseMonitor sounds once when the loss sits at ln K, and says what to try", () => {
  const monitor = new CollapseMonitor({ prototypes: 512, patience: 3, quietSteps: 10 });
  const stuck = (step: number): string[] =>
    monitor.read({ step, crossEntropy: Math.log(512), teacherEntropy: Math.log(512) }).map(({ name }) => name);
  expect([9, 10, 11, 12, 13, 14, 15].map((step) => stuck(step).join())).toEqual(["", "", "", "", "uniform", "", ""]);
  monitor.read({ step: 16, crossEntropy: 5, teacherEntropy: 3 });
  expect([17, 18, 19].flatMap(stuck)).toEqual(["uniform"]);
});

test("CollapseMonitor does not take a confident teacher and a fresh student for a collapse", () => {
  const monitor = new CollapseMonitor({ prototypes: 512, patience: 1, quietSteps: 0 });
  expect(monitor.read({ step: 1, crossEntropy: Math.log(512), teacherEntropy: 4 })).toEqual([]);
});

test.each([
  ["one-prototype", { crossEntropy: 0.1, marginalEntropy: 0.05 }, /one prototype.*sinkhorn/],
  ["constant-features", { crossEntropy: 3, featureStd: 0.01 }, /same feature; .*koleoWeight/],
  ["low-rank", { crossEntropy: 3, effectiveRank: 1.2, fullRank: 96 }, /1\.20 of 96\.0 dimensions; .*; raise objective\.koleoWeight/],
  ["not-finite", { crossEntropy: NaN }, /The loss is NaN; .*; lower optim\.lr/],
] as const)("CollapseMonitor sounds %s", (name, reading, text) => {
  const monitor = new CollapseMonitor({ prototypes: 512, patience: 1, quietSteps: 0 });
  const alarms = monitor.read({ step: 5, ...reading });
  expect(alarms.map((alarm) => alarm.name)).toEqual([name]);
  expect(alarms[0]?.text).toMatch(text);
});

test("CollapseMonitor keeps its count over steps on which features are not measured", () => {
  const monitor = new CollapseMonitor({ prototypes: 512, patience: 2, quietSteps: 0 });
  monitor.read({ step: 1, crossEntropy: 3, featureStd: 0 });
  monitor.read({ step: 2, crossEntropy: 3 });
  expect(monitor.read({ step: 3, crossEntropy: 3, featureStd: 0 }).map(({ name }) => name)).toEqual(["constant-features"]);
});
