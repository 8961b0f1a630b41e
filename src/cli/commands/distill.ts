/** @file `tricera distill`: a frozen teacher to one student or several, in one run. */
import type { UserConfig } from "../../train/index.ts";
import { type Command, defineCommand } from "../command.ts";
import { formatRun, printResult, runJob } from "../library.ts";
import { type OptionValues, text, texts } from "../options.ts";
import { need, parseArgs } from "../parse-args.ts";
import { checkRun, configFileOf, configOf, RUN_OPTIONS, type RunCommandOptions, runGroups, runOptions } from "./run-options.ts";

const OPTIONS = {
  ...RUN_OPTIONS,
  teacher: text("MODEL", "what is frozen and teaches: a run, a Hugging Face or timm folder, an id in the cache, a weights file"),
  model: texts("PRESET", "a student: vit_tiny_patch16, resnet18, ...; say it again for more, one teacher pass serves all"),
};

/** What `distill()` of the library is told by the command line. */
export interface DistillCommandOptions extends RunCommandOptions {
  readonly teacher: string;
  readonly models: readonly string[];
}

type DistillValues = OptionValues<typeof OPTIONS>;

async function toDistillOptions(values: DistillValues, file: UserConfig): Promise<DistillCommandOptions> {
  const config = await configOf(values, { file, aliases: {} });
  checkRun(values, { needsOut: true });
  const { model: models = [] } = values;
  need(models[0], "model", "there is no student");
  need(config.data?.path, "data", "there are no images to train on");
  return { ...runOptions(values, config), teacher: need(values.teacher, "teacher", "there is no teacher"), models };
}

/** `distill()`'s options from an argument list; `file` stands for what `--config` holds. */
export async function distillOptionsOf(argv: readonly string[], file: UserConfig = {}): Promise<DistillCommandOptions> {
  return toDistillOptions(parseArgs(argv, OPTIONS), file);
}

export const distillCommand: Command = defineCommand({
  name: "distill",
  summary: "teach one or more smaller networks what a trained one knows",
  about:
    "A run with heads teaches by its prototypes: crops, masks and heads are its own. Weights without heads, such as the released ones, teach by their class and patch tokens (objective.clsWeight, objective.patchWeight). Each student is kept as OUT/exported/NAME/last. A run that was cut off goes on by `tricera train --out OUT --resume`.",
  examples: [
    "tricera distill --teacher runs/v3 --model vit_tiny_patch16 --data ~/photos --out runs/small",
    "tricera distill --teacher facebook/dinov2-small --model vit_tiny_patch16 --model convnext_tiny --data ~/photos --out runs/small",
    "tricera distill --teacher runs/v3 --model vit_tiny_patch16 --model vit_micro_patch16 --data ~/photos --out runs/two --minutes 60",
  ],
  options: OPTIONS,
  groups: runGroups(["teacher", "model"]),
  run: async (values, context) => {
    const result = await runJob("distill", await toDistillOptions(values, await configFileOf(values, context)), context);
    printResult(result, { json: values.json ?? false, context, format: formatRun });
    return 0;
  },
});
