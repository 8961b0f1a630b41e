/** @file `tricera train`: self-supervised pretraining on a folder of images. */
import type { UserConfig } from "../../train/index.ts";
import { type Command, defineCommand, MACHINE } from "../command.ts";
import { checkDevice, loadTrainRoom, printResult, runJob } from "../library.ts";
import { choice, flag, integer, number, type OptionValues, text, texts } from "../options.ts";
import { atMostOne, need, parseArgs } from "../parse-args.ts";
import { dataOption, DEVICE, IMAGES } from "./shared-options.ts";

const OPTIONS = {
  data: dataOption("the images"),
  out: text("DIR", "the run folder to write"),
  model: text("PRESET", "the network: vit_small_patch16, dino_vits8, vit_nano_patch4, ...; default: chosen by the data"),
  method: choice(["dino", "dinov2", "dinov3", "simclr"], "how to train"),
  stage: choice(["pretrain", "gram", "highres"], "dinov3: a later stage that goes on from the run in --init"),
  epochs: number("N", "length in passes over the data", { above: 0 }),
  steps: integer("N", "length in optimizer steps", { min: 1 }),
  minutes: number("N", "length in minutes; the speed is measured once, then the number of steps is fixed", { above: 0 }),
  "batch-size": integer("N", "images in one micro-batch", { min: 1 }),
  accumulate: integer("N", "micro-batches in one step", { min: 1 }),
  "knn-data": dataOption("labelled images for k-NN during training"),
  "dense-data": text("DIR", "images with masks for patch k-NN during training"),
  init: text("WEIGHTS", "begin with these weights: a run folder, a model folder or a weights file"),
  resume: flag("go on with the run in --out from its last whole checkpoint"),
  "accept-data-change": flag("with --resume: go on although images were added, changed or removed"),
  overwrite: flag("delete the run that is in --out first"),
  log: choice(["tensorboard"], "write TensorBoard event files too"),
  "allow-partial": flag("with --init: accept missing and extra weights"),
  config: text("FILE", "configuration in .json, .yaml or .ts (a .ts file is run)"),
  set: texts("KEY=VALUE", "one value of the configuration, for example optim.lr=0.001"),
  "print-config": flag("print the whole configuration with the reason of every value, and stop"),
  "dry-run": flag("measure a step, estimate memory and disk, draw the crops of a batch, and stop"),
  replay: text("DUMP", "run the step of a dump again"),
  ...MACHINE,
  decode: IMAGES.decode,
  alpha: IMAGES.alpha,
  "skip-broken": IMAGES["skip-broken"],
  ...DEVICE,
};

/** Short options that are aliases of configuration keys. */
const ALIASES = {
  seed: "seed",
  method: "method",
  model: "model.arch",
  epochs: "train.epochs",
  steps: "train.steps",
  minutes: "train.minutes",
  "batch-size": "train.batchSize",
  accumulate: "train.accumulate",
  threads: "train.threads",
  data: "data.path",
  decode: "data.decode",
  alpha: "data.alpha",
  "knn-data": "knn.train",
  "dense-data": "dense.train",
  stage: "stage",
  init: "init.from",
  "allow-partial": "init.allowPartial",
} as const satisfies Partial<Record<keyof typeof OPTIONS, string>>;

/** What `train()` of the library is told by the command line. */
export interface TrainCommandOptions {
  /** What the user set: file, then short options, then `--set`. */
  readonly config: UserConfig;
  /** Absent with `--print-config`, `--dry-run` and `--replay` only. */
  readonly out: string | undefined;
  readonly resume: boolean;
  readonly overwrite: boolean;
  readonly acceptDataChange: boolean;
  readonly skipBroken: boolean;
  readonly printConfig: boolean;
  readonly dryRun: boolean;
  readonly replay: string | undefined;
}

type TrainValues = OptionValues<typeof OPTIONS>;

/** The configuration: what `--config` holds, then the short options, then `--set`. */
async function configOf(values: TrainValues, file: UserConfig): Promise<UserConfig> {
  const { mergeConfigs, parseSet, setKey } = await loadTrainRoom();
  const aliases = Object.entries(ALIASES).flatMap(([name, key]) => {
    const value: unknown = values[name as keyof typeof ALIASES]; // the entries of ALIASES have its keys
    return value === undefined ? [] : [setKey(key, value, `--${name}`)];
  });
  const tensorboard = values.log === "tensorboard" ? [setKey("log.tensorboard", true, "--log")] : [];
  const sets = (values.set ?? []).map((assignment) => parseSet(assignment));
  return mergeConfigs(file, ...aliases, ...tensorboard, ...sets);
}

/** Throws UsageError where options exclude each other or something needed is missing. */
function checkTogether(values: TrainValues, config: UserConfig): void {
  checkDevice(values);
  atMostOne(values, ["epochs", "steps", "minutes"]);
  atMostOne(values, ["resume", "overwrite"]);
  atMostOne(values, ["resume", "init"]);
  const dry = values["print-config"] === true || values["dry-run"] === true;
  const { replay } = values;
  if (replay === undefined && !dry) need(values.out, "out", "a run is written to a folder");
  if (values.resume === true) need(values.out, "out", "--resume needs the run folder");
  const goesOn = config.stage !== undefined && config.stage !== "pretrain"; // on the images of the run before
  if (replay === undefined && values.resume !== true && !goesOn) need(config.data?.path, "data", "there are no images to train on");
}

/** Options of the library from options of the command line; `file` is what `--config` holds. Throws UsageError and ConfigError. */
async function toTrainOptions(values: TrainValues, file: UserConfig): Promise<TrainCommandOptions> {
  const config = await configOf(values, file);
  checkTogether(values, config);
  return {
    config,
    out: values.out,
    resume: values.resume ?? false,
    overwrite: values.overwrite ?? false,
    acceptDataChange: values["accept-data-change"] ?? false,
    skipBroken: values["skip-broken"] ?? false,
    printConfig: values["print-config"] ?? false,
    dryRun: values["dry-run"] ?? false,
    replay: values.replay,
  };
}

/** `train()`'s options from an argument list; `file` stands for what `--config` holds. */
export async function trainOptionsOf(argv: readonly string[], file: UserConfig = {}): Promise<TrainCommandOptions> {
  return toTrainOptions(parseArgs(argv, OPTIONS), file);
}

export const trainCommand: Command = defineCommand({
  name: "train",
  summary: "train a vision transformer on your images without labels",
  about: "Every value that is not set is chosen from the data and the machine; --print-config shows each with its reason.",
  examples: [
    "tricera train --data ~/photos --out runs/first",
    "tricera train --data ~/photos --out runs/first --minutes 30 --set optim.lr=0.001",
    "tricera train --out runs/first --resume",
    "tricera train --data ~/photos --model vit_tiny_patch16 --print-config",
    "tricera train --config run.yaml --out runs/second --dry-run",
    "tricera train --method dinov3 --data ~/photos --out runs/v3",
    "tricera train --method dinov3 --stage gram --init runs/v3 --out runs/v3-gram",
  ],
  options: OPTIONS,
  run: async (values, context) => {
    const { loadConfigFile } = await loadTrainRoom();
    const onNotice = (line: string): void => context.terminal.err(`${line}\n`);
    const file = values.config === undefined ? {} : await loadConfigFile(values.config, { onNotice });
    const result = await runJob("train", await toTrainOptions(values, file), context);
    printResult(result, { json: values.json ?? false, context });
    return 0;
  },
});
