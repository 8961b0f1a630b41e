/**
 * @file Recipes by the number of pictures: 1,000, 10,000 and 50,000, ViT-Ti at no more than 96 px, everything else chosen by Tricera.
 *
 *   node recipes/sizes.ts --clothing DIR --cifar DIR [--only 1k,10k,50k] [--methods dino,dinov2] [--minutes 15] [--out runs/sizes]
 *
 * CLOTHING holds {train,test}/<class>/*.jpg, CIFAR the same of CIFAR-10. Finished runs are not made again, one that was cut off goes on.
 * Each finished run rewrites sizes.json and sizes.md.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { processTerminal } from "../src/cli/terminal.ts";
import type { UserConfig } from "../src/train/index.ts";
import { writeFileAtomic } from "../src/weights/index.ts";
import { knnCurve } from "./lib/curves.ts";
import { readScores, trainOrGoOn } from "./lib/go-on.ts";
import { pixelKnn, writeManifest } from "./lib/labelled.ts";
import { type SizeName, type SizeScore, SIZES, sizesTable } from "./lib/sizes.ts";

const { values } = parseArgs({
  options: {
    clothing: { type: "string" },
    cifar: { type: "string" },
    only: { type: "string", default: "1k,10k,50k" },
    methods: { type: "string", default: "dino,dinov2" },
    minutes: { type: "string", default: "15" },
    out: { type: "string", default: "runs/sizes" },
  },
});
const { clothing, cifar, out } = values;
if (clothing === undefined || cifar === undefined)
  throw new Error("Cannot run the recipe: --clothing or --cifar is missing; give the folders of the two data sets");
const folders = { clothing, cifar };
const minutes = Number(values.minutes);
const HERE = fileURLToPath(new URL(".", import.meta.url));
const terminal = processTerminal();
const scoresFile = join(out, "scores.json");
const scores = await readScores<SizeScore>(scoresFile);

async function runOne(name: SizeName, method: "dino" | "dinov2"): Promise<void> {
  const size = SIZES[name];
  const folder = folders[size.set];
  const at = (part: string): string => join(".cache", "sizes", `${name}-${part}.csv`);
  const images = await writeManifest(at("images"), { folders: [join(folder, "train")], perClass: size.perClass });
  const bank = await writeManifest(at("bank"), { folders: [join(folder, "train")], perClass: size.bankPerClass });
  const test = await writeManifest(at("test"), { folders: [join(folder, "test")], perClass: 200 });
  const config: UserConfig = {
    method,
    data: { path: images },
    model: { arch: size.arch, imageSizePx: size.imageSizePx },
    knn: { train: bank, test },
    train: { minutes },
  };
  const dir = join(out, `${name}-${method}`);
  const result = await trainOrGoOn(`${name}, ${method}`, { out: dir, config, terminal });
  const curve = await knnCurve(dir, "minutes");
  const [untrained, last, best] = [curve[0]?.[1] ?? NaN, curve.at(-1)?.[1] ?? NaN, Math.max(...curve.map(([, y]) => y))];
  const pixels = await pixelKnn(bank, test, { sizePx: size.imageSizePx });
  const steps = result.steps ?? 0;
  scores.push({ name, method, steps, minutes: curve.at(-1)?.[0] ?? NaN, pixels, untrained, last, best });
  await writeFileAtomic(scoresFile, `${JSON.stringify(scores, null, 1)}\n`);
  await writeFileAtomic(join(HERE, "sizes.json"), `${JSON.stringify({ minutes, scores }, null, 1)}\n`);
  await writeFileAtomic(join(HERE, "sizes.md"), sizesTable(scores, minutes));
}

for (const name of values.only.split(","))
  for (const method of values.methods.split(",")) {
    if (!(name in SIZES) || (method !== "dino" && method !== "dinov2"))
      throw new Error(
        `Cannot run "${name}" by "${method}": there is no such recipe; choose of ${Object.keys(SIZES).join(", ")} and dino, dinov2`,
      );
    if (!scores.some((s) => s.name === name && s.method === method)) await runOne(name as SizeName, method); // a key of SIZES
  }
terminal.out(sizesTable(scores, minutes));
