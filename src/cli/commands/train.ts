/** @file `tricera train`: self-supervised pretraining on a folder of images. */
import type { UserConfig } from "../../train/index.ts";
import { type Command, defineCommand } from "../command.ts";
import { formatRun, printResult, runJob } from "../library.ts";
import { choice, flag, type OptionValues, text } from "../options.ts";
import { atMostOne, need, parseArgs } from "../parse-args.ts";
import { checkRun, configFileOf, configOf, RUN_OPTIONS, type RunCommandOptions, runGroups, runOptions } from "./run-options.ts";

const OPTIONS = {
  ...RUN_OPTIONS,
  model: text("PRESET", "the network: vit_small_patch16, dinov2_vits14, dinov3_vits16, resnet18, ...; default: chosen by the data"),
  method: choice(["dino", "dinov2", "dinov3", "simclr"], "how to train (docs/methods.md); default: dino"),
  stage: choice(["pretrain", "gram", "highres"], "dinov3: a later stage that goes on from the run in --init"),
  init: text("WEIGHTS", "begin with these weights: a run folder, a model folder or a weights file; a stage goes on from its run"),
  "allow-partial": flag("with --init: take what fits, though some is missing or left over"),
  replay: text("DUMP", "run the step of a dump again"),
};

/** Short options of this command that are aliases of configuration keys. */
const ALIASES: Readonly<Record<string, string>> = {
  method: "method",
  model: "model.arch",
  stage: "stage",
  init: "init.from",
  "allow-partial": "init.allowPartial",
};

/** What `train()` of the library is told by the command line. */
export interface TrainCommandOptions extends RunCommandOptions {
  readonly replay: string | undefined;
}

type TrainValues = OptionValues<typeof OPTIONS>;

/** Throws UsageError where options exclude each other or something needed is missing. */
function checkTogether(values: TrainValues, config: UserConfig): void {
  const { replay } = values;
  checkRun(values, { needsOut: replay === undefined });
  atMostOne(values, ["resume", "init"]);
  const goesOn = config.stage !== undefined && config.stage !== "pretrain"; // on the images of the run before
  if (replay === undefined && values.resume !== true && !goesOn) need(config.data?.path, "data", "there are no images to train on");
}

/** Options of the library from options of the command line; `file` is what `--config` holds. Throws UsageError and ConfigError. */
async function toTrainOptions(values: TrainValues, file: UserConfig): Promise<TrainCommandOptions> {
  const config = await configOf(values, { file, aliases: ALIASES });
  checkTogether(values, config);
  return { ...runOptions(values, config), replay: values.replay };
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
    "tricera train --method dinov2 --init runs/v2 --data ~/other-photos --out runs/adapted",
  ],
  options: OPTIONS,
  groups: runGroups(["method", "model", "stage", "init", "allow-partial"], ["replay"]),
  run: async (values, context) => {
    const file = await configFileOf(values, context);
    const result = await runJob("train", await toTrainOptions(values, file), context);
    printResult(result, { json: values.json ?? false, context, format: formatRun });
    return 0;
  },
});
