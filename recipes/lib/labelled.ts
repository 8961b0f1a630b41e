/** @file Labelled parts of a data set, and how well raw pixels tell its classes. */
import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { imageRef, listData } from "../../src/data/index.ts";
import { type Labelled, voteKnn } from "../../src/evals/index.ts";
import { resample } from "../../src/images/index.ts";
import { loadImage } from "../../src/images/node/index.ts";
import { writeFileAtomic } from "../../src/weights/index.ts";

const MEAN = [0.485, 0.456, 0.406] as const;
const STD = [0.229, 0.224, 0.225] as const;

/** Writes a manifest of the first `perClass` files of each class folder, by name; of several folders, one after another. Returns its path. */
export async function writeManifest(
  file: string,
  { folders, perClass = Infinity }: { readonly folders: readonly string[]; readonly perClass?: number },
): Promise<string> {
  const rows: string[] = [];
  for (const folder of folders)
    for (const entry of (await readdir(folder, { withFileTypes: true }))
      .filter((e) => e.isDirectory())
      .sort((a, b) => (a.name < b.name ? -1 : 1)))
      for (const name of (await readdir(join(folder, entry.name))).sort().slice(0, perClass))
        rows.push(`${resolve(folder, entry.name, name)},${entry.name}`);
  await writeFileAtomic(file, `path,label\n${rows.join("\n")}\n`);
  return file;
}

async function pixelsOf(spec: string, sizePx: number): Promise<Labelled> {
  const list = await listData(spec);
  const area = sizePx ** 2;
  const features = new Float32Array(list.entries.length * 3 * area);
  for (const i of list.entries.keys()) {
    const image = await loadImage(imageRef(list, i));
    const { data } = resample(image, { width: sizePx, height: sizePx, kernel: "bicubic", arithmetic: "pil-u8" });
    for (let at = 0; at < data.length; at++) {
      const c = (at % 3) as 0 | 1 | 2; // three channels
      features[(i * 3 + c) * area + Math.floor(at / 3)] = ((data[at] ?? 0) / 255 - MEAN[c]) / STD[c];
    }
  }
  return { features, dim: 3 * area, labels: list.entries.map((e) => e.label ?? "") };
}

/** k-NN top-1 (k = 20, T = .07) of normalised pixels. */
export async function pixelKnn(bank: string, test: string, { sizePx }: { readonly sizePx: number }): Promise<number> {
  const [score] = await voteKnn([await pixelsOf(bank, sizePx), await pixelsOf(test, sizePx)], { k: [20], temperature: 0.07, threads: 2 });
  return score?.top1 ?? NaN;
}
