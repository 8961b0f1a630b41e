import { expect, test } from "vitest";
import { diffForResume, parseTrainConfig, resolveConfig } from "./index.ts";

const saved = resolveConfig({ train: { steps: 100 } }, { images: 1000, medianSidePx: 32, cores: 2, memoryBytes: 2 ** 34 }).config;

test("diffForResume() lets logs, checkpoints, k-NN, threads and the place of the data change", () => {
  const { config, changes } = diffForResume(saved, {
    log: { tensorboard: true },
    checkpoint: { keepLast: 5 },
    train: { threads: 1, steps: 100 },
    data: { path: "moved" },
  });
  expect(changes.map(({ keyPath }) => keyPath).sort()).toEqual(["checkpoint.keepLast", "data.path", "log.tensorboard", "train.threads"]);
  expect(config).toEqual({
    ...saved,
    log: { ...saved.log, tensorboard: true },
    checkpoint: { ...saved.checkpoint, keepLast: 5 },
    train: { ...saved.train, threads: 1 },
    data: { ...saved.data, path: "moved" },
  });
  expect(changes.find(({ keyPath }) => keyPath === "train.threads")?.note).toMatch(/bit for bit/);
});

test("diffForResume() without changes gives the saved configuration", () => {
  expect(diffForResume(saved, {})).toEqual({ config: saved, changes: [] });
  expect(diffForResume(saved, { train: { steps: 100, epochs: null } }).config).toBe(saved);
});

test("diffForResume() refuses what decides the steps and says which keys may change", () => {
  expect(() => diffForResume(saved, { optim: { lr: 1 }, train: { steps: 200 } })).toThrow(
    /optim\.lr \(0\.\d+ to 1\), train\.steps \(100 to 200\) decides .*only log\.\*, checkpoint\.\*, knn\.\*, dense\.\*, gram\.teacher, train\.threads.* may change/,
  );
  expect(() => diffForResume(saved, { train: { epochs: 3 } })).toThrow(/train\.epochs \(null to 3\)/);
  expect(() => diffForResume(saved, { seed: 9 })).toThrow(/seed \(0 to 9\)/);
});

test("parseTrainConfig() takes a configuration back from JSON", () => {
  expect(parseTrainConfig(JSON.parse(JSON.stringify(saved)))).toEqual(saved);
  expect(() => parseTrainConfig({ ...saved, head: { ...saved.head, prototypes: undefined } })).toThrow(/"head\.prototypes".*got nothing/);
});

test("diffForResume() lets the place of the Gram teacher and the dense probe change, and no other later key", () => {
  const { config, changes } = diffForResume(saved, { gram: { teacher: "moved" }, dense: { train: "masks", k: 5 } });
  expect(changes.map(({ keyPath }) => keyPath).sort()).toEqual(["dense.k", "dense.train", "gram.teacher"]);
  expect(config.gram.teacher).toBe("moved");
  expect(changes.find(({ keyPath }) => keyPath === "gram.teacher")?.note).toContain("must be the same");
  for (const user of [
    { method: "dinov2" },
    { stage: "gram" },
    { model: { registers: 4 } },
    { mask: { probability: 0.4 } },
    { gram: { updateEverySteps: 10 } },
    { schedule: { kind: "constant" } },
    { init: { from: "elsewhere" } },
    { crops: { sizes: [{ globalSizePx: 32, localSizePx: 16, gramSizePx: 0, ratio: 1 }] } },
  ] as const)
    expect(() => diffForResume(saved, user)).toThrow(/decides the steps of the run/);
});
