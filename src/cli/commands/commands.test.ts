import { expect, test } from "vitest";
import { ConfigError, UsageError } from "../../core/index.ts";
import { distillOptionsOf } from "./distill.ts";
import { embedOptionsOf } from "./embed.ts";
import { evalKnnOptionsOf } from "./eval-knn.ts";
import { trainOptionsOf } from "./train.ts";

const words = (line: string): readonly string[] => line.split(" ");

test("train: options are aliases of configuration keys, over the file and under --set", async () => {
  const file = { seed: 1, train: { epochs: 9, batchSize: 4 }, optim: { lr: 0.1 } };
  const options = await trainOptionsOf(
    words(
      "--data a --out r --steps 24 --batch-size 8 --seed 5 --knn-data b --log tensorboard --set train.batchSize=16 --set model.depth=6",
    ),
    file,
  );
  expect(options.config).toEqual({
    seed: 5,
    data: { path: "a" },
    knn: { train: "b" },
    log: { tensorboard: true },
    model: { depth: 6 },
    optim: { lr: 0.1 },
    train: { epochs: null, minutes: null, steps: 24, batchSize: 16 },
  });
  expect(options).toMatchObject({ out: "r", resume: false, overwrite: false, printConfig: false });
});

test("train: --steps 24 is --set train.steps=24", async () => {
  const by = async (line: string): Promise<unknown> => (await trainOptionsOf(words(`--data a --out r ${line}`))).config;
  expect(await by("--steps 24")).toEqual(await by("--set train.steps=24"));
  expect(await by("--model vit_tiny_patch16")).toEqual(await by("--set model.arch=vit_tiny_patch16"));
});

test("train: --resume needs no data, --print-config no run folder, --replay neither", async () => {
  expect(await trainOptionsOf(words("--out r --resume --steps 3"))).toMatchObject({
    resume: true,
    out: "r",
  });
  expect(await trainOptionsOf(words("--data a --print-config"))).toMatchObject({
    printConfig: true,
    out: undefined,
  });
  expect(await trainOptionsOf(words("--replay r/dumps/step-7"))).toMatchObject({
    replay: "r/dumps/step-7",
  });
});

test.each([
  ["--out r", /without --data/],
  ["--data a", /without --out/],
  ["--resume", /without --out/],
  ["--data a --out r --epochs 3 --steps 4", /--epochs and --steps together/],
  ["--out r --resume --overwrite", /--resume and --overwrite together/],
  ["--data a --out r --method dinov9", /takes dino/],
  ["--data a --out r --dat b", /did you mean "--data"\?/],
])("train refuses %s", async (line, message) => {
  await expect(trainOptionsOf(words(line))).rejects.toThrow(message);
  await expect(trainOptionsOf(words(line))).rejects.toThrow(UsageError);
});

test("train refuses an unknown key and a device of a later release", async () => {
  await expect(trainOptionsOf(words("--data a --out r --set optim.lrr=1"))).rejects.toThrow(/did you mean "optim\.lr"\?/);
  await expect(trainOptionsOf(words("--data a --out r --device webgpu"))).rejects.toThrow(ConfigError);
});

test("embed: options and their defaults", () => {
  expect(embedOptionsOf(words("--model r --data a --out f.npy --layers -1,-2 --normalize --image-size 64"))).toEqual({
    model: "r",
    arch: undefined,
    data: "a",
    out: "f.npy",
    pool: "cls",
    layers: [-1, -2],
    attention: false,
    imageSizePx: 64,
    resize: undefined,
    normalize: true,
    batchSize: undefined,
    overwrite: false,
    threads: undefined,
    decode: undefined,
    alpha: undefined,
    skipBroken: false,
    labels: "folder",
  });
  expect(() => embedOptionsOf(words("--model r --data a --out f.txt"))).toThrow(
    /suffix names no table format; use \.safetensors, \.npy, \.csv/,
  );
  expect(() => embedOptionsOf(words("--data a --out f.npy"))).toThrow(/without --model/);
});

test("eval knn: a model is needed for images, not for feature tables", () => {
  expect(evalKnnOptionsOf(words("--model r --train a --test b --k 5,7"))).toMatchObject({
    model: "r",
    k: [5, 7],
    temperature: 0.07,
  });
  expect(evalKnnOptionsOf(words("--train a.safetensors --test b.npy"))).toMatchObject({
    model: undefined,
    k: [10, 20, 100, 200],
  });
  expect(() => evalKnnOptionsOf(words("--train a --test b.npy"))).toThrow(/without --model/);
});

test("eval knn: --split stands for --test", () => {
  expect(evalKnnOptionsOf(words("--train a.npy --split 0.2"))).toMatchObject({ test: undefined, split: 0.2, model: undefined });
  expect(() => evalKnnOptionsOf(words("--train a --split 0.2"))).toThrow(/without --model/);
  expect(() => evalKnnOptionsOf(words("--model r --train a"))).toThrow(/--split 0\.2 holds some out/);
  expect(() => evalKnnOptionsOf(words("--model r --train a --test b --split 0.2"))).toThrow(/--test and --split together/);
});

test("distill: a teacher, students in order, and the options of a run", async () => {
  const options = await distillOptionsOf(words("--teacher t --model a --model b --data d --out r --steps 3 --set optim.lr=0.1"));
  expect(options).toMatchObject({ teacher: "t", models: ["a", "b"], out: "r", resume: false });
  expect(options.config).toEqual({
    data: { path: "d" },
    train: { steps: 3, epochs: null, minutes: null },
    optim: { lr: 0.1 },
  });
});

test.each([
  ["--model a --data d --out r", /without --teacher/],
  ["--teacher t --data d --out r", /without --model/],
  ["--teacher t --model a --out r", /without --data/],
  ["--teacher t --model a --data d", /without --out/],
])("distill refuses %s", async (line, message) => {
  await expect(distillOptionsOf(words(line))).rejects.toThrow(message);
});
