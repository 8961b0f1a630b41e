/** @file The rules by which a model's pictures become pixels, from the files around its weights. */
import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type DecodeRules, FOREIGN_RULES, runDecodeRules } from "./processor-rules.ts";

export {
  checkChannels,
  type DecodeRules,
  familyPreprocessing,
  networkSizePx,
  type Preprocessing,
  readProcessorRules,
  runDecodeRules,
} from "./processor-rules.ts";

/** The rules of the run that weights in `<run>/exported/<name>` come from; models of others are met as Pillow reads files. */
export async function decodeRulesOf(dir: string): Promise<DecodeRules> {
  if (basename(dirname(dir)) !== "exported") return FOREIGN_RULES;
  const text = await readFile(join(dir, "..", "..", "config.json"), "utf8").catch(() => "null");
  try {
    return runDecodeRules(JSON.parse(text));
  } catch {
    return FOREIGN_RULES; // an `exported` folder that is no run's
  }
}
