/** @file Every command, in the order the overview shows them. */
import type { Command } from "../command.ts";
import { doctorCommand } from "./doctor.ts";
import { embedCommand } from "./embed.ts";
import { evalKnnCommand } from "./eval-knn.ts";
import { evalPatchKnnCommand } from "./eval-patch-knn.ts";
import { modelsListCommand } from "./models.ts";
import { trainCommand } from "./train.ts";

export const COMMANDS: readonly Command[] = [
  trainCommand,
  embedCommand,
  evalKnnCommand,
  evalPatchKnnCommand,
  modelsListCommand,
  doctorCommand,
];
