/** @file Every command, in the order the overview shows them. */
import type { Command } from "../command.ts";
import { distillCommand } from "./distill.ts";
import { doctorCommand } from "./doctor.ts";
import { embedCommand } from "./embed.ts";
import { evalKnnCommand } from "./eval-knn.ts";
import { evalPatchKnnCommand } from "./eval-patch-knn.ts";
import { exportCommand } from "./export.ts";
import { modelsListCommand } from "./models.ts";
import { modelsCacheCommand } from "./models-cache.ts";
import { modelsConvertCommand } from "./models-convert.ts";
import { modelsInfoCommand } from "./models-info.ts";
import { modelsPullCommand } from "./models-pull.ts";
import { trainCommand } from "./train.ts";

export const COMMANDS: readonly Command[] = [
  trainCommand,
  distillCommand,
  embedCommand,
  evalKnnCommand,
  evalPatchKnnCommand,
  exportCommand,
  modelsListCommand,
  modelsInfoCommand,
  modelsPullCommand,
  modelsConvertCommand,
  modelsCacheCommand,
  doctorCommand,
];
