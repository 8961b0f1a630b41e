/**
 * @file The family on one set of pictures: DINO, + iBOT, DINOv2, DINOv3, + Gram anchoring, + high resolution; k-NN of images and of patches.
 *
 *   node recipes/family.ts --clothing DIR --photos DIR --camvid DIR [--minutes 15] [--seeds 0,1,2] [--only dino,dinov2] [--threads 1] [--out runs/family]
 *
 * CLOTHING holds {train,validation,test}/<class>/*.jpg, PHOTOS *.jpg, CAMVID {train,test} with {train,test}annot. Runs that are there are not
 * made again, one that was cut off goes on: start it as often as you like. Each finished run rewrites family.json, family.md and family.svg.
 * The models are small: two seeds at once, one thread each and a folder each, take less time than one after the other.
 */
import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { processTerminal } from "../src/cli/terminal.ts";
import { evalKnn, evalPatchKnn } from "../src/evals/index.ts";
import type { UserConfig } from "../src/train/index.ts";
import { writeFileAtomic } from "../src/weights/index.ts";
import { FAMILY, type FamilyName, familyConfig, familyTable, type FamilyScore, isFamilyName } from "./lib/family.ts";
import { writeCurves } from "./lib/curves.ts";
import { readScores, trainOrGoOn } from "./lib/go-on.ts";
import { pixelKnn, writeManifest } from "./lib/labelled.ts";
import { mean } from "./lib/summary.ts";

const { values } = parseArgs({
  options: {
    clothing: { type: "string" },
    photos: { type: "string" },
    camvid: { type: "string" },
    minutes: { type: "string", default: "15" },
    seeds: { type: "string", default: "0,1,2" },
    only: { type: "string" },
    threads: { type: "string" },
    out: { type: "string", default: "runs/family" },
  },
});
const { clothing, photos, camvid, out } = values;
if (clothing === undefined || photos === undefined || camvid === undefined)
  throw new Error("Cannot run the recipe: --clothing, --photos or --camvid is missing; give the folders of the three data sets");
const minutes = Number(values.minutes);
const threads = values.threads === undefined ? undefined : Number(values.threads);
const names = values.only?.split(",") ?? FAMILY.map(({ name }) => name);
const HERE = fileURLToPath(new URL(".", import.meta.url));

/** Clothing's training part and the photos, in one list. */
async function writeImages(file: string): Promise<string> {
  const rows: string[] = [];
  for (const folder of [join(clothing ?? "", "train"), photos ?? ""])
    for (const entry of (await readdir(folder, { withFileTypes: true, recursive: true })).filter((e) => e.isFile()))
      if (/\.jpe?g$/i.test(entry.name)) rows.push(resolve(entry.parentPath, entry.name));
  await writeFileAtomic(file, `path\n${rows.sort().join("\n")}\n`);
  return file;
}

const images = await writeImages(".cache/family/images.csv");
const bank = await writeManifest(".cache/family/bank.csv", { folders: [join(clothing, "train")] });
const queries = await writeManifest(".cache/family/queries.csv", { folders: [join(clothing, "validation"), join(clothing, "test")] });
const pixels = await pixelKnn(bank, queries, { sizePx: 64 });
const terminal = processTerminal();
const scoresFile = join(out, "scores.json");
const scores = await readScores<FamilyScore>(scoresFile);

/** One run, made, gone on with, or found whole; then both k-NN. */
async function runOne(name: FamilyName, seed: number): Promise<void> {
  const dir = join(out, `${name}-${seed}`);
  const { after } = FAMILY.find((member) => member.name === name) ?? {};
  const parent = after === undefined ? undefined : join(out, `${after}-${seed}`);
  const config: UserConfig = familyConfig(name, { images, minutes, seed, parent, threads });
  const result = await trainOrGoOn(`${name}, seed ${seed}`, { out: dir, config, terminal });
  const model = join(dir, "exported", "last");
  const knn = await evalKnn({ model, train: bank, test: queries, k: [20] });
  const sets = { train: join(camvid ?? "", "train"), test: join(camvid ?? "", "test") };
  const dense = await evalPatchKnn({ model, ...sets, imageSizePx: 192, maxBank: 20_000, maxQueries: 20_000 });
  const score = { name, seed, steps: result.steps ?? 0, minutes, knn: knn.top1["20"] ?? NaN, patch: dense.patchTop1, miou: dense.miou };
  scores.push(score);
  await writeFileAtomic(scoresFile, `${JSON.stringify(scores, null, 1)}\n`);
  await report();
}

/** Table and picture of what is there so far. */
async function report(): Promise<void> {
  const command = `node recipes/family.ts --clothing DIR --photos DIR --camvid DIR --minutes ${minutes} --seeds ${values.seeds}`;
  await writeFileAtomic(join(HERE, "family.md"), familyTable(scores, { command, minutes, pixels }));
  const means = (pick: (s: FamilyScore) => number): [number, number][] =>
    FAMILY.flatMap(({ name }, i): [number, number][] => {
      const found = scores.filter((s) => s.name === name).map(pick);
      return found.length === 0 ? [] : [[i + 1, mean(found)]];
    });
  const chart = {
    title: `Clothing and CamVid k-NN, ${minutes} minutes a run`,
    unit: "top-1, mean of seeds",
    format: "percent",
    xName: "networks in the table's order",
    series: [
      { name: "pictures", points: means((s) => s.knn) },
      { name: "patches", points: means((s) => s.patch) },
    ],
  } as const;
  await writeCurves(HERE, "family", { chart, facts: { minutes, pixels, scores } });
}

for (const seed of values.seeds.split(",").map(Number))
  for (const name of names) {
    if (!isFamilyName(name))
      throw new Error(`Cannot run "${name}": the family has none of that name; choose of ${FAMILY.map((f) => f.name).join(", ")}`);
    if (!scores.some((s) => s.name === name && s.seed === seed)) await runOne(name, seed);
  }
await report(); // of runs that were made elsewhere, too
terminal.out(familyTable(scores, { command: "this", minutes, pixels }));
