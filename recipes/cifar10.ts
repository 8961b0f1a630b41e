/**
 * @file CIFAR-10 in at most 90 minutes on two cores: trains on all 50,000 images without labels, asks 10,000 of them about 2,000 test images.
 *
 *   node recipes/cifar10.ts --data DIR [--steps 4500] [--out runs/cifar10] [--resume]
 *
 * DIR holds train/<class>/*.jpg and test/<class>/*.jpg.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { UserConfig } from "../src/train/index.ts";
import { writeManifest } from "./lib/labelled.ts";
import { runRecipe } from "./lib/run-recipe.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    out: { type: "string", default: "runs/cifar10" },
    steps: { type: "string", default: "4500" },
    resume: { type: "boolean", default: false },
  },
});
if (values.data === undefined) throw new Error("Cannot run the recipe: --data is missing; give the folder that holds train/ and test/");
const { data, out, resume } = values;

/** What led to these settings is in README.md beside this file. */
const config: UserConfig = {
  data: { path: await writeManifest(".cache/cifar10/all.csv", { folders: [join(data, "train")], perClass: 5000 }) },
  model: { arch: "vit", width: 128, depth: 4, heads: 4, patchSizePx: 4, imageSizePx: 32, posEmbedInit: "sincos" },
  crops: { globalSizePx: 32, localSizePx: 16, localCount: 2 },
  head: { prototypes: 1024 },
  objective: { teacherTemp: 0.05, warmupTeacherTemp: 0.05 },
  optim: { lr: 7e-4 },
  train: { batchSize: 128, steps: Number(values.steps) },
  knn: { everyEpochs: 1 },
};

await runRecipe({
  name: "cifar10",
  title: "CIFAR-10, 10,000 labelled images asked about 2,000",
  config,
  out,
  resume,
  bank: await writeManifest(".cache/cifar10/bank.csv", { folders: [join(data, "train")], perClass: 1000 }),
  test: await writeManifest(".cache/cifar10/test.csv", { folders: [join(data, "test")], perClass: 200 }),
  sizePx: 32,
});
