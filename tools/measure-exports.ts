/**
 * @file How far exports are from their source and how large they are, by type of weights: `node tools/measure-exports.ts [MODEL…]`
 *
 * Without models: a small network of each family with random weights, and ViT-S for its size. Prints the rows of the table in
 * `docs/export.md`: bytes of the .onnx file, worst cosine of two tokens and largest difference over ten seeds of three pictures of noise.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { exportModel, type WeightDType } from "../src/features/index.ts";
import { vitPreset } from "../src/nn/index.ts";
import { type WritableConfig, writeModelFolder } from "../src/weights/index.ts";
import { SMALL_NETWORKS, smallWeights } from "./lib/small-networks.ts";

const MADE: Readonly<Record<string, WritableConfig>> = {
  "DINO, small": SMALL_NETWORKS.ViTModel,
  "DINOv2, small": SMALL_NETWORKS.Dinov2Model,
  "DINOv2 with registers, small": SMALL_NETWORKS.Dinov2WithRegistersModel,
  "DINOv3, small": SMALL_NETWORKS.DINOv3ViTModel,
  "ConvNeXt, small": SMALL_NETWORKS.DINOv3ConvNextModel,
};
const SIZED: Readonly<Record<string, WritableConfig>> = {
  "ViT-S/14 (DINOv2)": { ...vitPreset("dinov2_vits14"), posInterpolation: "size" },
};

const DTYPES = ["f32", "f16", "int8"] as const;
const SEEDS = 10;

/** One row: name, then for each type the size, the worst cosine and the largest difference. */
async function measure(name: string, model: string, { root, seeds }: { readonly root: string; readonly seeds: number }): Promise<string> {
  const cells = [];
  for (const dtype of DTYPES) cells.push(await measureAs(dtype, model, { root, seeds }));
  return `| ${name} | ${cells.join(" | ")} |`;
}

async function measureAs(
  dtype: WeightDType,
  model: string,
  { root, seeds }: { readonly root: string; readonly seeds: number },
): Promise<string> {
  let [cosine, most, bytes] = [1, 0, 0];
  for (let seed = 0; seed < seeds; seed++) {
    const out = join(root, "measured.onnx");
    const { check, files } = await exportModel({ model, out, dtype, seed, outputs: ["last_hidden_state"], overwrite: true });
    [cosine, most] = [Math.min(cosine, check?.worstCosine ?? Number.NaN), Math.max(most, check?.maxAbsError ?? Number.NaN)];
    bytes = files[out] ?? 0;
  }
  const size = bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  return `${size}, ${cosine.toFixed(7)}, ${most.toExponential(1)}`;
}

async function main(models: readonly string[]): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "tricera exports "));
  const print = (row: string): void => void process.stdout.write(`${row}\n`);
  try {
    print(`| network | ${DTYPES.join(" | ")} |`);
    print(`| --- | ${DTYPES.map(() => "---").join(" | ")} |`);
    for (const model of models) print(await measure(basename(model), model, { root, seeds: SEEDS }));
    if (models.length > 0) return;
    for (const [name, config] of [...Object.entries(MADE), ...Object.entries(SIZED)]) {
      const isSized = name in SIZED;
      const model = join(root, name.replaceAll("/", " "));
      await writeModelFolder(model, { config, tensors: smallWeights(config, { std: isSized ? 0.05 : 0.2 }) });
      print(await measure(name, model, { root, seeds: isSized ? 1 : SEEDS }));
    }
  } finally {
    rmSync(root, { recursive: true });
  }
}

if (import.meta.main) await main(process.argv.slice(2));
