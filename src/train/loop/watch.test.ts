import { expect, test } from "vitest";
import type { FusedStepResult } from "../../optim/index.ts";
import { resolveConfig, type RunFacts, type TrainConfig } from "../config/index.ts";
import type { StepResult, StepScalars } from "../stepper.ts";
import { Watch } from "./watch.ts";

const FACTS: RunFacts = { images: 1000, medianSidePx: 32, cores: 2, memoryBytes: 2 ** 34 };
const PUPIL = { name: "pupil", model: resolveConfig({ model: { arch: "vit_pico_patch8" } }, FACTS).config.model };
const STUDENT = resolveConfig(
  { model: { arch: "vit_nano_patch8" }, distill: { teacher: "weights", students: [PUPIL], objective: "features" }, train: { steps: 2000 } },
  FACTS,
).config;
const PLAIN = resolveConfig({ model: { arch: "vit_pico_patch8" }, train: { steps: 2000 } }, FACTS).config;
const SCALARS: StepScalars = { lr: 1, weightDecay: 0, emaMomentum: 1, teacherTemp: 1, clip: { kind: "none" }, freezeLastLayer: false };
const OPTIMIZER: FusedStepResult = { applied: true, globalNorm: 1, gradNorms: new Map(), nonFinite: [] };

/** A thousand and more steps of one loss and one class token for all pictures, eight of them. */
function watch(config: TrainConfig, loss: number): { readonly alarms: readonly string[]; readonly keys: readonly string[] } {
  const own = new Watch(config, 2000);
  const features = Float32Array.from({ length: 8 * 64 }, (_, i) => 1 + (i % 64));
  const result: StepResult = {
    loss,
    parts: { "loss.pupil.cls": loss },
    teacherEntropy: NaN,
    targetEntropy: NaN,
    watched: {},
    prototypes: new Int32Array(),
    features,
    optimizer: OPTIMIZER,
    nonFinite: [],
  };
  const alarms: string[] = [];
  let keys: readonly string[] = [];
  for (let step = 1; step <= 1200; step++) {
    const found = own.read(step, result, { scalars: SCALARS, ms: 10, loader: { waitedMs: 0 }, stepsPerEpoch: 10 });
    alarms.push(...found.alarms.map(({ text }) => text));
    if (step === 1) keys = Object.keys(found.line);
  }
  return { alarms, keys };
}

test("a student of features whose answers are all alike is told of, with what helps it", () => {
  const { alarms, keys } = watch(STUDENT, 1);
  expect(alarms.length).toBeGreaterThan(0);
  for (const text of alarms) {
    expect(text).toMatch(/; lower optim\.lr, or take more images a step \(train\.batchSize\)$/);
    expect(text).not.toMatch(/koleo|centering/);
  }
  expect(keys).toContain("loss.pupil.cls");
  expect(keys).toContain("fullRank");
  for (const key of ["kl", "teacherEntropy", "prototypeUsage"]) expect(keys).not.toContain(key);
  expect(watch(PLAIN, 1).alarms.join("\n")).toMatch(/raise objective\.koleoWeight/);
  expect(watch(PLAIN, 1).keys).toContain("kl");
});

test("a loss of ln K says nothing where there are no prototypes; one that is not finite is told as it is", () => {
  expect(watch(STUDENT, Math.log(STUDENT.head.prototypes)).alarms.join("\n")).not.toMatch(/gives? every prototype/);
  expect(watch(STUDENT, NaN).alarms[0]).toMatch(
    /The loss is NaN; training has diverged; lower optim\.lr, or make schedule\.lrWarmupEpochs longer/,
  );
});
