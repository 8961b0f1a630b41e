/** @file Gram anchoring that contradicts itself. DINOv3 spec §3.6. */
import { ConfigError } from "../../core/index.ts";
import type { TrainConfig } from "./types.ts";

function refuse(keyPath: string, message: string): never {
  throw new ConfigError(message, { keyPath });
}

/** Whether something gives the Gram teacher: a file, the moving teacher, a refresh, or the run before. */
function hasTeacher({ gram, init, stage }: TrainConfig, parent: TrainConfig | undefined): boolean {
  const refreshed = gram.updateEverySteps > 0 && gram.maxUpdates > 0;
  const before = stage !== "pretrain" && (parent !== undefined || init.from !== null);
  return gram.teacher !== null || gram.useEma || refreshed || before;
}

function checkTeacher(config: TrainConfig, parent: TrainConfig | undefined): void {
  const { gram, objective, crops } = config;
  if (!hasTeacher(config, parent))
    refuse(
      "gram.teacher",
      `Cannot use objective.gramWeight ${objective.gramWeight}: there is no Gram teacher; set gram.teacher to weights, gram.useEma=true, or objective.gramWeight=0`,
    );
  if (gram.useEma && gram.teacher !== null)
    refuse("gram.useEma", `Cannot use gram.useEma with gram.teacher "${gram.teacher}": both name the Gram teacher; keep one`);
  if (gram.useEma && gram.updateEverySteps > 0)
    refuse(
      "gram.updateEverySteps",
      `Cannot use gram.updateEverySteps ${gram.updateEverySteps} with gram.useEma: the moving teacher is never copied; set gram.updateEverySteps=0`,
    );
  const seen = Math.max(gram.sizePx, ...crops.sizes.map((s) => s.gramSizePx));
  if (gram.useEma && seen > 0)
    refuse(
      "gram.sizePx",
      `Cannot use crops of ${seen} px for the Gram teacher with gram.useEma: the moving teacher sees the global crops; set gram.sizePx and gramSizePx of crops.sizes to 0`,
    );
}

function checkSizes({ gram, crops, model }: TrainConfig): void {
  const p = model.patchSizePx;
  if (gram.sizePx === 0) return;
  if (gram.sizePx % p !== 0)
    refuse(
      "gram.sizePx",
      `Cannot use gram.sizePx ${gram.sizePx}: it is not a multiple of the patch size ${p}; use ${Math.ceil(gram.sizePx / p) * p}, or 0 for the global size`,
    );
  if (gram.sizePx < crops.globalSizePx)
    refuse(
      "gram.sizePx",
      `Cannot use gram.sizePx ${gram.sizePx}: the Gram teacher would see less than the global crops of ${crops.globalSizePx} px; use ${crops.globalSizePx} or more, or 0`,
    );
}

/** Throws ConfigError for Gram anchoring without a teacher, with two, or with options that exclude each other. */
export function checkGram(config: TrainConfig, parent: TrainConfig | undefined): void {
  const { gram, objective, mask } = config;
  if (objective.gramWeight === 0) return;
  checkTeacher(config, parent);
  checkSizes(config);
  if (gram.removeNegative && gram.removeOnlyTeacherNegative)
    refuse(
      "gram.removeNegative",
      "Cannot use gram.removeNegative with gram.removeOnlyTeacherNegative: the first removes the student's negatives too; keep one",
    );
  if (gram.tokens !== "all" && gram.level === "image")
    refuse(
      "gram.tokens",
      `Cannot use gram.tokens "${gram.tokens}" with gram.level "image": images have different numbers of masked patches; set gram.level="batch" or gram.tokens="all"`,
    );
  if (gram.tokens !== "all" && (objective.ibotWeight === 0 || mask.probability === 0))
    refuse("gram.tokens", `Cannot use gram.tokens "${gram.tokens}": no patch is masked; set gram.tokens="all"`);
}
