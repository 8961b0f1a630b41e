import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigError, UsageError } from "../../core/index.ts";
import { CONFIG_KEYS, loadConfigFile, parseSet, parseUserConfig } from "./index.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-config-"));
});
afterAll(() => rm(dir, { recursive: true }));

async function file(name: string, text: string): Promise<string> {
  await writeFile(join(dir, name), text);
  return join(dir, name);
}

test("loadConfigFile() reads JSON, YAML and TypeScript, and warns that TypeScript runs", async () => {
  const wanted = { seed: 4, optim: { lr: 0.001 } };
  expect(await loadConfigFile(await file("a.json", JSON.stringify(wanted)))).toEqual(wanted);
  expect(await loadConfigFile(await file("a.yaml", "seed: 4\noptim:\n  lr: 1e-3\n"))).toEqual(wanted);
  const notices: string[] = [];
  const code = await file("a.ts", "export const config: object = { seed: 2 + 2, optim: { lr: 1e-3 } };\n");
  expect(await loadConfigFile(code, { onNotice: (line) => notices.push(line) })).toEqual(wanted);
  expect(notices.join()).toMatch(/a \.ts config is a program/);
});

test("loadConfigFile() says what is wrong with a file", async () => {
  await expect(loadConfigFile(join(dir, "none.json"))).rejects.toThrow(/no such file/);
  await expect(loadConfigFile(await file("bad.json", "{"))).rejects.toThrow(/it is not JSON/);
  await expect(loadConfigFile(await file("bad.yaml", "a: [1\nb: 2"))).rejects.toThrow(/it is not YAML at line/);
  await expect(loadConfigFile(await file("a.toml", ""))).rejects.toThrow(/suffix "\.toml" is not known/);
  await expect(loadConfigFile(await file("none.ts", "export const other = 1;"))).rejects.toThrow(/exports nothing/);
  await expect(loadConfigFile(await file("list.yaml", "- 1"))).rejects.toThrow(/wanted an object/);
  expect(await loadConfigFile(await file("empty.yaml", ""))).toEqual({});
});

test("parseSet() reads numbers, lists, texts, and paths that look like numbers", () => {
  expect(parseSet("train.steps=24")).toEqual({ train: { steps: 24 } });
  expect(parseSet("optim.lr=5e-4")).toEqual({ optim: { lr: 5e-4 } });
  expect(parseSet("crops.localScaleRange=[0.1, 0.4]")).toEqual({
    crops: { localScaleRange: [0.1, 0.4] },
  });
  expect(parseSet("data.path=2024")).toEqual({ data: { path: "2024" } });
  expect(parseSet("data.path=a=b: c")).toEqual({ data: { path: "a=b: c" } });
  expect(parseSet("log.tensorboard=true")).toEqual({ log: { tensorboard: true } });
  expect(parseSet("knn.train=null")).toEqual({ knn: { train: null } });
});

test.each([
  ["train.stpes=3", /"train\.stpes" of --set: there is no such key; did you mean "train\.steps"\?/],
  ["batchSize=3", /did you mean "train\.batchSize"\?/],
  ["train=3", /it is a section; set one of train\.epochs/],
  ["train.steps=many", /"train\.steps" of --set: got "many" \(text\), wanted a whole number of at least 1/],
  ["train.steps=0", /got 0, wanted a whole number of at least 1/],
  ["train.steps=1.5", /got 1\.5, wanted a whole number/],
  ["objective.centering=sinkhorm", /wanted "ema" or "sinkhorn"/],
  ["crops.globalScaleRange=[1, 0.4]", /wanted two numbers, the lower first/],
  ["log.tensorboard=1", /got 1, wanted true or false/],
  ["optim.lr=.nan", /got NaN, wanted a number above 0/],
])("parseSet() refuses %s", (assignment, message) => {
  expect(() => parseSet(assignment)).toThrow(message);
  expect(() => parseSet(assignment)).toThrow(ConfigError);
});

test("parseSet() without a value is bad use", () => {
  expect(() => parseSet("train.steps")).toThrow(UsageError);
});

test("parseUserConfig() names key path, value and wish of a wrong type, also inside lists", () => {
  const keyPathOf = (value: unknown): string => {
    try {
      parseUserConfig(value, "x.yaml");
    } catch (error) {
      if (error instanceof ConfigError) return `${error.keyPath}|${error.message}`;
    }
    return "accepted";
  };
  expect(keyPathOf({ train: { batchSize: "8" } })).toBe(
    'train.batchSize|Cannot use config key "train.batchSize" of x.yaml: got "8" (text), wanted a whole number of at least 1; change the value',
  );
  expect(keyPathOf({ crops: { globalScaleRange: [0.4, "1"] } })).toMatch(/^crops\.globalScaleRange\|.*got "1"/);
  expect(keyPathOf({ optim: 3 })).toMatch(/^optim\|.*got 3, wanted an object/);
  expect(keyPathOf({ optimm: {} })).toMatch(/did you mean "optim"\?/);
  expect(keyPathOf({ optim: { learningRate: 1 } })).toMatch(/"optim" has optim\.name/);
  expect(keyPathOf(null)).toMatch(/got null, wanted an object/);
});

test("parseUserConfig() throws ConfigError and nothing else, whatever it is given", () => {
  const tree = fc.dictionary(
    fc.constantFrom("seed", "train", "crops", "x"),
    fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom("steps", "localScaleRange", "y"), fc.jsonValue())),
  );
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), tree), (value) => {
      try {
        parseUserConfig(value);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
      }
    }),
    { numRuns: 200 },
  );
});

test("CONFIG_KEYS holds the keys other programs rely on", () => {
  const needed =
    "seed model.arch model.depth model.width model.heads model.patchSizePx model.dropPath crops.globalSizePx crops.localSizePx crops.localCount head.prototypes head.hidden head.bottleneck optim.lr optim.weightDecay optim.clipNorm train.epochs train.steps train.batchSize train.accumulate train.checkpointing checkpoint.everySteps checkpoint.keepLast log.everySteps log.tensorboard";
  for (const key of needed.split(" ")) expect(CONFIG_KEYS).toContain(key);
});
