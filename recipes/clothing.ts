/**
 * @file Phone photos of clothes at 96 px: trains on the training part without labels, asks the training part about the test part.
 *
 *   node recipes/clothing.ts --data DIR [--steps 900] [--out runs/clothing] [--resume]
 *
 * DIR holds {train,validation,test}/<class>/*.jpg.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { UserConfig } from "../src/train/index.ts";
import { writeManifest } from "./lib/labelled.ts";
import { runRecipe } from "./lib/run-recipe.ts";

const ALL = 100_000;
const { values } = parseArgs({
  options: {
    data: { type: "string" },
    out: { type: "string", default: "runs/clothing" },
    steps: { type: "string", default: "900" },
    resume: { type: "boolean", default: false },
  },
});
if (values.data === undefined) throw new Error("Cannot run the recipe: --data is missing; give the folder that holds train/ and test/");
const { data, out, resume } = values;

/**
 * A first run with 512 prototypes, batches of 32 and blurred crops learned nothing that tells classes (22.0 % after 1,500 steps, 21.2 % before):
 * 64 crops a step cannot feed 512 prototypes evenly.
 */
const config: UserConfig = {
  data: { path: join(data, "train") },
  model: { arch: "vit", width: 128, depth: 4, heads: 4, patchSizePx: 12, imageSizePx: 96, posEmbedInit: "sincos" },
  crops: { globalSizePx: 96, localSizePx: 48, localCount: 3 },
  augment: { blurProb: [0, 0, 0] },
  head: { prototypes: 128 },
  optim: { lr: 1e-3 },
  train: { batchSize: 64, steps: Number(values.steps) },
  knn: { everyEpochs: 2 },
};

await runRecipe({
  name: "clothing",
  title: "Clothing photos at 96 px, the training part asked about the test part",
  config,
  out,
  resume,
  bank: await writeManifest(".cache/clothing/bank.csv", { folders: [join(data, "train")], perClass: ALL }),
  test: await writeManifest(".cache/clothing/test.csv", { folders: [join(data, "test")], perClass: ALL }),
  sizePx: 96,
});
