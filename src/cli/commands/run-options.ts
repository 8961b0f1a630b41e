/** @file What commands that make a run have in common: length, data, configuration, resuming. */
import type { UserConfig } from "../../train/index.ts";
import { type CommandContext, MACHINE, type OptionGroup } from "../command.ts";
import { checkDevice, loadTrainRoom } from "../library.ts";
import { choice, flag, integer, number, type Option, type OptionValues, text, texts } from "../options.ts";
import { atMostOne, need } from "../parse-args.ts";
import { dataOption, DEVICE, IMAGES } from "./shared-options.ts";

type TextName = "data" | "out" | "knn-data" | "dense-data" | "config";
type NumberName = "epochs" | "steps" | "minutes" | "batch-size" | "accumulate";
type FlagName = "resume" | "accept-data-change" | "overwrite" | "print-config" | "dry-run";

type RunOptionTable = { readonly [K in TextName]: Option<string> } & { readonly [K in NumberName]: Option<number> } & {
  readonly [K in FlagName]: Option<true>;
} & { readonly log: Option<"tensorboard">; readonly set: Option<readonly string[]> } & typeof MACHINE &
  Pick<typeof IMAGES, "decode" | "alpha" | "skip-broken"> &
  typeof DEVICE;

export const RUN_OPTIONS: RunOptionTable = {
  data: dataOption("the images"),
  out: text("DIR", "the run folder to write"),
  epochs: number("N", "length in passes over the data", { above: 0 }),
  steps: integer("N", "length in optimizer steps (--epochs, --steps or --minutes: one of them; default: chosen by the data)", { min: 1 }),
  minutes: number("N", "length in minutes; the speed is measured once, then the number of steps is fixed", { above: 0 }),
  "batch-size": integer("N", "images in one micro-batch", { min: 1 }),
  accumulate: integer("N", "micro-batches in one step", { min: 1 }),
  "knn-data": text("DATA", "labelled images for k-NN during training, named as --data"),
  "dense-data": text("DIR", "images with masks for patch k-NN during training: a folder X with Xannot beside it, or images and masks"),
  resume: flag("go on with the run in --out from its last whole checkpoint"),
  "accept-data-change": flag("with --resume: go on although images were added, changed or removed"),
  overwrite: flag("delete the run that is in --out first"),
  log: choice(["tensorboard"], "write TensorBoard event files too"),
  config: text("FILE", "configuration in .json, .yaml or .ts (a .ts file is run)"),
  set: texts("KEY=VALUE", "one value of the configuration, for example optim.lr=0.001"),
  "print-config": flag("print the whole configuration with the reason of every value, and stop"),
  "dry-run": flag("measure a step, estimate memory and disk, draw the crops of a batch and their masks (dry-run.png in --out), and stop"),
  ...MACHINE,
  decode: IMAGES.decode,
  alpha: IMAGES.alpha,
  "skip-broken": IMAGES["skip-broken"],
  ...DEVICE,
};

/** How the help shows them; `first` are the command's own, which say what is trained. */
export function runGroups(first: readonly string[], goOn: readonly string[] = []): readonly OptionGroup[] {
  return [
    { title: "What is trained", names: ["data", "out", ...first] },
    { title: "How long, how much at once", names: ["epochs", "steps", "minutes", "batch-size", "accumulate"] },
    { title: "What is watched", names: ["knn-data", "dense-data", "log"] },
    { title: "Look before you train", names: ["print-config", "dry-run"] },
    { title: "Go on, begin anew", names: ["resume", "accept-data-change", "overwrite", ...goOn] },
    { title: "Every other value", names: ["config", "set", "seed"] },
    { title: "Images and machine", names: ["decode", "alpha", "skip-broken", "threads", "device", "precision"] },
  ];
}

/** Short options that are aliases of configuration keys. */
const ALIASES: Readonly<Record<string, string>> = {
  seed: "seed",
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
};

export type RunValues = OptionValues<typeof RUN_OPTIONS>;

/** What a run of the library is told by the command line. */
export interface RunCommandOptions {
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
}

/** What `--config` holds. */
export async function configFileOf(values: RunValues, { terminal }: CommandContext): Promise<UserConfig> {
  if (values.config === undefined) return {};
  const { loadConfigFile } = await loadTrainRoom();
  return await loadConfigFile(values.config, { onNotice: (line) => terminal.err(`${line}\n`) });
}

/** The configuration: what `--config` holds, then the short options (a command has further `aliases`), then `--set`. */
export async function configOf(
  values: RunValues,
  { file, aliases }: { readonly file: UserConfig; readonly aliases: Readonly<Record<string, string>> },
): Promise<UserConfig> {
  const { mergeConfigs, parseSet, setKey } = await loadTrainRoom();
  const given = new Map<string, unknown>(Object.entries(values));
  const short = Object.entries({ ...ALIASES, ...aliases }).flatMap(([name, key]) => {
    const value = given.get(name);
    return value === undefined ? [] : [setKey(key, value, `--${name}`)];
  });
  const tensorboard = values.log === "tensorboard" ? [setKey("log.tensorboard", true, "--log")] : [];
  const sets = (values.set ?? []).map((assignment) => parseSet(assignment));
  return mergeConfigs(file, ...short, ...tensorboard, ...sets);
}

/** Throws UsageError where options exclude each other or something needed is missing. */
export function checkRun(values: RunValues, { needsOut }: { readonly needsOut: boolean }): void {
  checkDevice(values);
  atMostOne(values, ["epochs", "steps", "minutes"]);
  atMostOne(values, ["resume", "overwrite"]);
  const dry = values["print-config"] === true || values["dry-run"] === true;
  if (needsOut && !dry) need(values.out, "out", "a run is written to a folder");
  if (values.resume === true) need(values.out, "out", "--resume needs the run folder");
}

export function runOptions(values: RunValues, config: UserConfig): RunCommandOptions {
  return {
    config,
    out: values.out,
    resume: values.resume ?? false,
    overwrite: values.overwrite ?? false,
    acceptDataChange: values["accept-data-change"] ?? false,
    skipBroken: values["skip-broken"] ?? false,
    printConfig: values["print-config"] ?? false,
    dryRun: values["dry-run"] ?? false,
  };
}
