/**
 * @file Whether transformers.js computes what we do from what we export: `node tools/check-transformers-js.ts FOLDER [PHOTOS]`
 *
 * FOLDER has `@huggingface/transformers` installed (it is no dependency of the project); PHOTOS are JPEG files, made up unless given. For each
 * class of transformers a small network of random weights is exported (`--format hf`, as f32, f16 and int8), opened with AutoModel and
 * AutoImageProcessor, and its `last_hidden_state` held against our features: of the pixels that transformers.js made, of files that need no
 * resizing (both fail above the tolerances of the export's own check), and of files that do: transformers.js resizes without a filter against
 * aliasing, so that those differ.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Rng } from "../src/core/index.ts";
import { exportModel, loadModel, openEncoder, type WeightDType } from "../src/features/index.ts";
import { openCpu } from "../src/engine/runtime/index.ts";
import { encodeJpeg } from "../src/images/node/index.ts";
import { writeModelFolder } from "../src/weights/index.ts";
import { SMALL_NETWORKS, smallWeights } from "./lib/small-networks.ts";

/** Runs in FOLDER: prints where it wrote, for each picture, the pixels and the tokens. */
const RUNNER = `
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AutoImageProcessor, AutoModel, env, RawImage } from "@huggingface/transformers";
const [root, photos, ...cases] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = root;
const found = [];
for (const name of cases) {
  const [folder, dtype] = name.split("/");
  const model = await AutoModel.from_pretrained(folder, { dtype, device: "cpu" });
  const processor = await AutoImageProcessor.from_pretrained(folder);
  for (const file of readdirSync(photos).filter((f) => /\\.jpe?g$/.test(f)).sort()) {
    const inputs = await processor(await RawImage.read(join(photos, file)));
    const { last_hidden_state: tokens } = await model(inputs);
    const out = join(root, folder + "-" + dtype + "-" + file);
    writeFileSync(out + ".x", Buffer.from(inputs.pixel_values.data.buffer, inputs.pixel_values.data.byteOffset, inputs.pixel_values.data.byteLength));
    writeFileSync(out + ".y", Buffer.from(tokens.data.buffer, tokens.data.byteOffset, tokens.data.byteLength));
    found.push({ name, file, out, pixels: inputs.pixel_values.dims, tokens: tokens.dims, model: model.constructor.name, processor: processor.image_processor?.constructor.name ?? processor.constructor.name });
  }
}
console.log(JSON.stringify(found));
`;

interface Found {
  readonly name: string;
  readonly file: string;
  readonly out: string;
  readonly pixels: readonly number[];
  readonly tokens: readonly number[];
  readonly model: string;
  readonly processor: string;
}

const DTYPES: { readonly [K in WeightDType]: string } = { f32: "fp32", f16: "fp16", int8: "q8" };
/** The worst cosine that the export's own check lets pass. */
const WORST: { readonly [K in WeightDType]: number } = { f32: 0.99999, f16: 0.9999, int8: 0.98 };

/** Pictures with large and small shapes, of several proportions. */
async function makePhotos(dir: string, sizes: readonly (readonly [width: number, height: number])[]): Promise<void> {
  for (const [i, [width, height]] of sizes.entries()) {
    const rng = new Rng(7).split(`photo/${i}`);
    const waves = Array.from({ length: 12 }, () => [rng.normal(0, 0.05), rng.normal(0, 0.05), rng.normal(0, 3), rng.int(3)] as const);
    const data = Uint8Array.from({ length: width * height * 3 }, (_, at) => {
      const [x, y, c] = [Math.floor(at / 3) % width, Math.floor(at / 3 / width), at % 3];
      const sum = waves.reduce((n, [fx, fy, phase, channel]) => n + (channel === c ? 1 : 0.3) * Math.sin(fx * x + fy * y + phase), 0);
      return Math.max(0, Math.min(255, 128 + 22 * sum + rng.int(9)));
    });
    writeFileSync(join(dir, `${i}.jpg`), await encodeJpeg({ width, height, data }));
  }
}

const PHOTO_SIZES = [
  [320, 240],
  [240, 400],
  [512, 512],
  [130, 120],
] as const;

interface Difference {
  worstCosine: number;
  largest: number;
}

/** Compares vectors of `d` numbers. */
function compare(got: Float32Array, wanted: Float32Array, { d, into }: { readonly d: number; readonly into: Difference }): void {
  if (got.length !== wanted.length) throw new Error(`Cannot compare: ${got.length} numbers with ${wanted.length}; look at the sizes`);
  for (let at = 0; at < got.length; at += d) {
    let [dot, a2, b2] = [0, 0, 0];
    for (let i = at; i < at + d; i++) {
      const [a, b] = [got[i] ?? 0, wanted[i] ?? 0];
      [dot, a2, b2] = [dot + a * b, a2 + a * a, b2 + b * b];
      into.largest = Math.max(into.largest, Math.abs(a - b));
    }
    into.worstCosine = Math.min(into.worstCosine, dot / Math.sqrt(a2 * b2));
  }
}

const floats = (path: string): Float32Array => new Float32Array(new Uint8Array(readFileSync(path)).buffer);

interface Compared {
  /** Of the same pixels. */
  readonly alone: Difference;
  /** Of the same files. */
  readonly whole: Difference;
}

/** Side of the square that the model's processor neither resizes nor, but for its crop, changes. */
async function unresizedPx(model: string): Promise<number> {
  using device = openCpu();
  const { encoder, preprocessing } = await openEncoder(model, device);
  encoder[Symbol.dispose]();
  const { imageSizePx, resize, cropRatio = 1 } = preprocessing;
  return resize === "square" ? imageSizePx : Math.round(imageSizePx / cropRatio);
}

/** Our features of the same pixels, and of the same files, against what transformers.js gave. */
async function compareAll(model: string, photos: string, found: readonly Found[]): Promise<Compared> {
  const [alone, whole] = [1, 1].map(() => ({ worstCosine: 1, largest: 0 })) as [Difference, Difference]; // two
  using device = openCpu();
  const { encoder } = await openEncoder(model, device);
  using network = encoder;
  await using loaded = await loadModel(model);
  for (const { file, out, pixels, tokens } of found) {
    const wanted = floats(`${out}.y`);
    const [, , height = 0, width = 0] = pixels;
    const { features } = await network.encode(floats(`${out}.x`), { pool: "all", sizePx: { height, width } });
    const d = tokens[2] ?? 1;
    compare(features, wanted, { d, into: alone });
    const { cls, registers, patches } = await loaded.embed(join(photos, file));
    compare(Float32Array.of(...cls, ...registers, ...patches), wanted, { d, into: whole });
  }
  return { alone, whole };
}

const shown = ({ worstCosine, largest }: Difference): string =>
  `worst cosine ${worstCosine.toFixed(8)}, largest difference ${largest.toExponential(2)}`;

function runInside(folder: string, args: readonly string[]): readonly Found[] {
  const runner = join(folder, "tricera-check.mjs");
  writeFileSync(runner, RUNNER);
  try {
    const { status, stdout, stderr } = spawnSync(process.execPath, [runner, ...args], {
      cwd: folder,
      encoding: "utf8",
      maxBuffer: 1 << 26,
    });
    if (status !== 0) throw new Error(`Cannot run transformers.js: it said ${stderr}; install it in "${folder}"`);
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "[]") as Found[]; // what RUNNER prints
  } finally {
    rmSync(runner);
  }
}

interface Folders {
  /** Where transformers.js is installed. */
  readonly folder: string;
  readonly root: string;
  readonly photos: string;
}

/** How weights are stored, and whether beside the graph. */
const VARIANTS: readonly { readonly dtype: WeightDType; readonly externalData?: boolean }[] = [
  { dtype: "f32" },
  { dtype: "f16" },
  { dtype: "int8" },
  { dtype: "f16", externalData: true },
];

/** Checks one class in one variant; whether it is near enough. */
async function checkCase(
  name: string,
  { dtype, externalData = false }: (typeof VARIANTS)[number],
  { folder, root, photos }: Folders,
): Promise<boolean> {
  const model = join(root, `${name}-source`);
  const out = `${name}-${dtype}${externalData ? "-data" : ""}`;
  await exportModel({ model, out: join(root, out), format: "hf", dtype, externalData, check: false });
  const side = await unresizedPx(model);
  const plain = join(root, `${out}-plain`);
  mkdirSync(plain);
  await makePhotos(plain, [
    [side, side],
    [side, side],
  ]);
  const see = async (files: string): Promise<Compared & { readonly found: readonly Found[] }> => {
    const found = runInside(folder, [root, files, `${out}/${DTYPES[dtype]}`]);
    return { found, ...(await compareAll(model, files, found)) };
  };
  const [resized, unresized] = [await see(photos), await see(plain)];
  const isNear = [resized.alone, unresized.alone, unresized.whole].every(({ worstCosine }) => worstCosine >= WORST[dtype]);
  const { model: by = "", processor = "" } = resized.found[0] ?? {};
  process.stdout.write(
    `${name} ${dtype}${externalData ? " beside the graph" : ""} (${by}, ${processor}, ${resized.found.length} + 2 pictures)${isNear ? "" : ": TOO FAR"}\n`,
  );
  process.stdout.write(`  same pixels:       ${shown(resized.alone)}\n  without resizing:  ${shown(unresized.whole)}\n`);
  process.stdout.write(`  files of any size: ${shown(resized.whole)}\n`);
  return isNear;
}

async function main(folder: string, given: string | undefined): Promise<number> {
  const root = mkdtempSync(join(tmpdir(), "tricera transformers js "));
  const photos = given === undefined ? join(root, "photos") : resolve(given);
  let bad = 0;
  try {
    if (given === undefined) {
      mkdirSync(photos);
      await makePhotos(photos, PHOTO_SIZES);
    }
    if (!readdirSync(photos).some((name) => /\.jpe?g$/.test(name))) throw new Error(`Cannot check: "${photos}" has no .jpg; give others`);
    for (const [name, config] of Object.entries(SMALL_NETWORKS)) {
      await writeModelFolder(join(root, `${name}-source`), { config, tensors: smallWeights(config) });
      for (const variant of VARIANTS) bad += (await checkCase(name, variant, { folder, root, photos })) ? 0 : 1;
    }
    return bad === 0 ? 0 : 1;
  } finally {
    rmSync(root, { recursive: true });
  }
}

if (import.meta.main) {
  const [folder, photos] = process.argv.slice(2);
  if (folder === undefined) process.stdout.write("Left out: name a folder that has @huggingface/transformers installed\n");
  else process.exitCode = await main(resolve(folder), photos);
}
