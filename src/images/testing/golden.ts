/** @file Reads the reference pictures of `golden/transforms` for this room's tests. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { makeImage, type RgbImage } from "../image.ts";

const ROOT = fileURLToPath(new URL("../../../../shared/golden/transforms/", import.meta.url));

/** Whether the folder of reference numbers lies beside the project. */
export const hasGolden: boolean = existsSync(ROOT);

export interface GoldenFile {
  readonly names: readonly string[];
  readonly config: Record<string, unknown>;
  readonly json: Record<string, unknown>;
  image(name: string): RgbImage;
  floats(name: string): Float32Array;
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

export function loadTransforms(name: string): GoldenFile {
  const bytes = readFileSync(`${ROOT}${name}.safetensors`);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const json = JSON.parse(readFileSync(`${ROOT}${name}.json`, "utf8")) as Record<string, unknown>; // our own reference file
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes)) as Record<string, Entry>; // our own reference file
  const raw = (key: string): { entry: Entry; data: Uint8Array } => {
    const entry = header[key];
    if (entry === undefined) throw new Error(`no tensor "${key}" in ${name}`);
    const [from, to] = entry.data_offsets;
    return { entry, data: Uint8Array.from(bytes.subarray(8 + headerBytes + from, 8 + headerBytes + to)) };
  };
  return {
    names: Object.keys(header).filter((k) => k !== "__metadata__"),
    json,
    config: (json["config"] ?? {}) as Record<string, unknown>, // our own reference file
    image(key) {
      const { entry, data } = raw(key);
      const [h = 0, w = 0, c = 1] = entry.shape;
      return makeImage(w, h, c === 3 ? data : Uint8Array.from({ length: w * h * 3 }, (_, i) => data[Math.floor(i / 3)] ?? 0));
    },
    floats(key) {
      const { entry, data } = raw(key);
      if (entry.dtype !== "F16") return new Float32Array(data.buffer);
      const view = new DataView(data.buffer);
      return Float32Array.from({ length: data.length / 2 }, (_, i) => halfToFloat(view.getUint16(i * 2, true)));
    },
  };
}

function halfToFloat(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Largest difference, and the share of values that differ. */
export function compare(mine: ArrayLike<number>, wanted: ArrayLike<number>): { readonly most: number; readonly share: number } {
  if (mine.length !== wanted.length) throw new Error(`lengths differ: ${mine.length} and ${wanted.length}`);
  let most = 0;
  let off = 0;
  for (let i = 0; i < mine.length; i++) {
    const d = Math.abs((mine[i] ?? Number.NaN) - (wanted[i] ?? Number.NaN));
    if (!(d <= most)) most = d;
    if (d !== 0) off++;
  }
  return { most, share: off / mine.length };
}
