import { expect, test } from "vitest";
import { UsageError } from "../../core/index.ts";
import { evalPatchKnnCommand, evalPatchKnnOptionsOf } from "./eval-patch-knn.ts";

const words = (line: string): readonly string[] => line.split(" ");

test("eval patch-knn: options and their defaults", () => {
  expect(evalPatchKnnOptionsOf(words("--model r --train a --test b"))).toEqual({
    model: "r",
    arch: undefined,
    train: "a",
    test: "b",
    split: undefined,
    ignore: undefined,
    k: 20,
    temperature: 0.07,
    imageSizePx: undefined,
    maxBank: 20_000,
    maxQueries: undefined,
    batchSize: undefined,
    skipBroken: false,
    threads: undefined,
  });
  const line =
    "--model r --train a --split 0.2 --ignore 0,255 --k 5 --image-size 448 --max-bank 100 --max-queries 50 --skip-broken --threads 2";
  expect(evalPatchKnnOptionsOf(words(line))).toMatchObject({
    test: undefined,
    split: 0.2,
    ignore: [0, 255],
    k: 5,
    imageSizePx: 448,
    maxBank: 100,
    maxQueries: 50,
    skipBroken: true,
    threads: 2,
  });
});

test.each([
  ["--train a --test b", /without --model/],
  ["--model r --test b", /without --train/],
  ["--model r --train a", /without --test.*--split 0\.2 holds some out/],
  ["--model r --train a --test b --split 0.2", /--test and --split together/],
  ["--model r --train a --test b --k 0", /Cannot use --k "0"/],
  ["--model r --train a --test b --ignore 70000", /whole numbers of at least 0 and up to 65535/],
  ["--model r --train a --test b --image-sise 32", /did you mean "--image-size"\?/],
])("eval patch-knn refuses %s", (line, message) => {
  expect(() => evalPatchKnnOptionsOf(words(line))).toThrow(message);
  expect(() => evalPatchKnnOptionsOf(words(line))).toThrow(UsageError);
});

test("eval patch-knn: its help says what masks are and shows examples", () => {
  expect(evalPatchKnnCommand.help).toMatch(/one PNG an image, of the same name, with the class id in each pixel/);
  expect(evalPatchKnnCommand.help).toMatch(/tricera eval patch-knn --model runs\/first --train camvid\/train --test camvid\/test/);
});
