import fc from "fast-check";
import { expect, test } from "vitest";
import { UsageError } from "../core/index.ts";
import { choice, flag, integer, integers, number, text, texts } from "./options.ts";
import { atMostOne, need, parseArgs } from "./parse-args.ts";

const TABLE = {
  out: text("DIR", "the folder"),
  "batch-size": integer("N", "images", { min: 1 }),
  lr: number("X", "rate", { above: 0, max: 1 }),
  shift: number("X", "any"),
  pool: choice(["cls", "mean"], "tokens"),
  k: integers("K", "neighbours", { min: 1 }),
  set: texts("KEY=VALUE", "a value"),
  resume: flag("go on"),
};
const parse = (line: string): unknown => parseArgs(line === "" ? [] : line.split(" "), TABLE);

test("parseArgs() reads values, flags, lists and repeated options", () => {
  expect(parse("--out a/b --batch-size=8 --lr 5e-4 --pool mean --k 10,20 --resume --set a=1 --set b=--c")).toEqual({
    out: "a/b",
    "batch-size": 8,
    lr: 5e-4,
    pool: "mean",
    k: [10, 20],
    resume: true,
    set: ["a=1", "b=--c"],
  });
  expect(parse("--shift -1.5 --out=--odd")).toEqual({ shift: -1.5, out: "--odd" });
  expect(parse("")).toEqual({});
  expect(parse("--resume --")).toEqual({ resume: true });
  expect(parseArgs(["--out", "my photos/ü"], TABLE)).toEqual({ out: "my photos/ü" });
});

test.each([
  ["--batch-sise 3", /"--batch-sise": there is no such option; did you mean "--batch-size"\?/],
  ["--batchSize 3", /did you mean "--batch-size"\?/],
  ["--batch_size=3", /did you mean "--batch-size"\?/],
  ["--nothing-near", /there is no such option; choose one of out, batch-size/],
  ["-out a", /two dashes; write "--out"/],
  ["--batch-size many", /--batch-size "many": wanted a whole number of at least 1/],
  ["--batch-size 0", /wanted a whole number of at least 1/],
  ["--batch-size 1.5", /wanted a whole number/],
  ["--lr 2", /wanted a number above 0 and up to 1/],
  ["--lr 0x10", /wanted a number/],
  ["--pool men", /takes cls, mean; did you mean "mean"\?/],
  ["--k 10,x", /wanted whole numbers of at least 1 with commas/],
  ["--out", /value is missing; write --out DIR/],
  ["--out --resume", /value is missing/],
  ["--resume=yes", /takes no value/],
  ["--out a --out b", /--out twice/],
  ["stray", /"stray": this command takes options only/],
  ["-- stray", /"stray"/],
  ["--out=", /not empty/],
  ["--__proto__ 1", /no such option/],
  ["--constructor 1", /no such option/],
])("parseArgs() refuses %s", (line, message) => {
  expect(() => parse(line)).toThrow(message);
  expect(() => parse(line)).toThrow(UsageError);
});

test("parseArgs() throws UsageError and nothing else, whatever it is given", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom("--out", "--k", "--set", "--resume", "--"))), (argv) => {
      try {
        parseArgs(argv, TABLE);
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
      }
    }),
  );
});

test("need() and atMostOne() name the options", () => {
  expect(() => need(undefined, "data", "there are no images")).toThrow("Cannot run without --data: there are no images; add --data");
  expect(() => atMostOne({ epochs: 1, steps: 2 }, ["epochs", "steps", "minutes"])).toThrow(/--epochs and --steps together/);
  expect(() => atMostOne({ epochs: 1 }, ["epochs", "steps"])).not.toThrow();
});
