/** @file `tricera eval patch-knn`: classify patches by the vote of the nearest patches, on images with masks. */
import { type Command, defineCommand, MACHINE } from "../command.ts";
import { checkDevice, printResult, runJob } from "../library.ts";
import { flag, integer, integers, number, type OptionValues, text } from "../options.ts";
import { atMostOne, need, parseArgs } from "../parse-args.ts";
import { DEVICE, MODEL } from "./shared-options.ts";

const OPTIONS = {
  ...MODEL,
  train: text("DIR", "images with masks whose patches vote: a folder X with Xannot beside it, or images and masks"),
  test: text("DIR", "images with masks whose patches are classified"),
  split: number("SHARE", "hold out this share of the images of --train for the test, such as 0.2; instead of --test", { above: 0 }),
  ignore: integers("255", "class ids that are void; default: what the set says", { min: 0, max: 65_535 }),
  k: integer("20", "how many neighbours vote", { min: 1 }),
  temperature: number("0.07", "weights are exp(similarity / temperature)", { above: 0 }),
  "image-size": integer("PX", "side of the square that the network sees; default: its own", { min: 1 }),
  "max-bank": integer("20000", "patches that vote at most, a fixed draw", { min: 1 }),
  "max-queries": integer("N", "patches that are classified at most, a fixed draw; default: all", { min: 1 }),
  "batch-size": integer("N", "images at once; default: as many as the caches like, 4 at 224 px", { min: 1 }),
  "skip-broken": flag("leave out files that cannot be read, and say which"),
  threads: MACHINE.threads,
  ...DEVICE,
};

/** What `evalPatchKnn()` of the library is told by the command line. */
export interface EvalPatchKnnCommandOptions {
  readonly model: string;
  readonly arch: string | undefined;
  readonly train: string;
  /** Absent where `split` says how much of `train` is held out. */
  readonly test: string | undefined;
  readonly split: number | undefined;
  readonly ignore: readonly number[] | undefined;
  readonly k: number;
  readonly temperature: number;
  readonly imageSizePx: number | undefined;
  readonly maxBank: number;
  readonly maxQueries: number | undefined;
  readonly batchSize: number | undefined;
  readonly skipBroken: boolean;
  readonly threads: number | undefined;
}

function toEvalPatchKnnOptions(values: OptionValues<typeof OPTIONS>): EvalPatchKnnCommandOptions {
  checkDevice(values);
  atMostOne(values, ["test", "split"]);
  const { split } = values;
  return {
    model: need(values.model, "model", "images need a network"),
    arch: values.arch,
    train: need(values.train, "train", "there are no labelled images that vote"),
    test: split === undefined ? need(values.test, "test", "there are no images to classify (--split 0.2 holds some out)") : undefined,
    split,
    ignore: values.ignore,
    k: values.k ?? 20,
    temperature: values.temperature ?? 0.07,
    imageSizePx: values["image-size"],
    maxBank: values["max-bank"] ?? 20_000,
    maxQueries: values["max-queries"],
    batchSize: values["batch-size"],
    skipBroken: values["skip-broken"] ?? false,
    threads: values.threads,
  };
}

/** `evalPatchKnn()`'s options from an argument list. */
export function evalPatchKnnOptionsOf(argv: readonly string[]): EvalPatchKnnCommandOptions {
  return toEvalPatchKnnOptions(parseArgs(argv, OPTIONS));
}

export const evalPatchKnnCommand: Command = defineCommand({
  name: "eval patch-knn",
  summary: "classify patches by their nearest patches: how good dense features are",
  about: "Images need masks: one PNG an image, of the same name, with the class id in each pixel. Nothing is trained.",
  examples: [
    "tricera eval patch-knn --model runs/first --train camvid/train --test camvid/test",
    "tricera eval patch-knn --model runs/first --train street --split 0.2 --image-size 448 --json",
  ],
  options: OPTIONS,
  run: async (values, context) => {
    const result = await runJob("evalPatchKnn", toEvalPatchKnnOptions(values), context);
    printResult(result, { json: values.json ?? false, context });
    return 0;
  },
});
