/** @file `tricera eval knn`: DINO's weighted k-NN vote on labelled images or feature tables. */
import { type Command, defineCommand, MACHINE } from "../command.ts";
import { checkDevice, printResult, runJob } from "../library.ts";
import { integer, integers, number, type OptionValues } from "../options.ts";
import { atMostOne, need, parseArgs } from "../parse-args.ts";
import { type Alpha, dataOption, type Decode, DEVICE, IMAGES, MODEL, type Pool, POOL } from "./shared-options.ts";

const OPTIONS = {
  ...MODEL,
  train: dataOption("labelled images that vote, or a feature table"),
  test: dataOption("labelled images to classify, or a feature table"),
  split: number("SHARE", "hold out this share of every class of --train for the test, such as 0.2; instead of --test", { above: 0 }),
  k: integers("10,20,100,200", "how many neighbours vote", { min: 1 }),
  temperature: number("0.07", "weights are exp(similarity / temperature)", { above: 0 }),
  pool: POOL,
  "image-size": integer("PX", "side of the pictures the network sees; default: its own", {
    min: 1,
  }),
  "batch-size": integer("N", "images at once; default: as many as the caches like, 4 at 224 px", { min: 1 }),
  threads: MACHINE.threads,
  ...IMAGES,
  ...DEVICE,
};

/** What `evalKnn()` of the library is told by the command line. */
export interface EvalKnnCommandOptions {
  /** Not needed where `train` and `test` are feature tables. */
  readonly model: string | undefined;
  readonly arch: string | undefined;
  readonly train: string;
  /** Absent where `split` says how much of `train` is held out. */
  readonly test: string | undefined;
  readonly split: number | undefined;
  readonly k: readonly number[];
  readonly temperature: number;
  readonly pool: Pool;
  readonly imageSizePx: number | undefined;
  readonly batchSize: number | undefined;
  readonly threads: number | undefined;
  readonly decode: Decode | undefined;
  readonly alpha: Alpha | undefined;
  readonly skipBroken: boolean;
  readonly labels: string;
}

const TABLE = /\.(safetensors|npy|csv)$/;

function toEvalKnnOptions(values: OptionValues<typeof OPTIONS>): EvalKnnCommandOptions {
  checkDevice(values);
  const train = need(values.train, "train", "there are no labelled images that vote");
  atMostOne(values, ["test", "split"]);
  const { split } = values;
  const test = split === undefined ? need(values.test, "test", "there are no images to classify (--split 0.2 holds some out)") : undefined;
  const tables = TABLE.test(train) && TABLE.test(test ?? train);
  return {
    model: tables ? values.model : need(values.model, "model", "images need a network (feature tables of `tricera embed` do not)"),
    arch: values.arch,
    train,
    test,
    split,
    k: values.k ?? [10, 20, 100, 200],
    temperature: values.temperature ?? 0.07,
    pool: values.pool ?? "cls",
    imageSizePx: values["image-size"],
    batchSize: values["batch-size"],
    threads: values.threads,
    decode: values.decode,
    alpha: values.alpha,
    skipBroken: values["skip-broken"] ?? false,
    labels: values.labels ?? "folder",
  };
}

/** `evalKnn()`'s options from an argument list. */
export function evalKnnOptionsOf(argv: readonly string[]): EvalKnnCommandOptions {
  return toEvalKnnOptions(parseArgs(argv, OPTIONS));
}

export const evalKnnCommand: Command = defineCommand({
  name: "eval knn",
  summary: "classify by the vote of the nearest neighbours",
  examples: [
    "tricera eval knn --model runs/first --train a/ --test b/",
    "tricera eval knn --model runs/first --train ~/photos --split 0.2",
    "tricera eval knn --train train.safetensors --test test.safetensors --k 20",
  ],
  options: OPTIONS,
  run: async (values, context) => {
    const result = await runJob("evalKnn", toEvalKnnOptions(values), context);
    printResult(result, { json: values.json ?? false, context });
    return 0;
  },
});
