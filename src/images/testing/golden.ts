/** @file The reference pictures of `golden/transforms`, as this room's pictures. */
import { goldenTensor, hasGolden as hasCases, loadGolden } from "../../core/testing/golden.ts";
import { makeImage, type RgbImage } from "../image.ts";

/** Whether these cases of `transforms` can be loaded. */
export function hasGolden(...names: readonly string[]): boolean {
  return hasCases("transforms", ...names);
}

export interface GoldenFile {
  readonly names: readonly string[];
  readonly config: Record<string, unknown>;
  readonly json: Record<string, unknown>;
  image(name: string): RgbImage;
  floats(name: string): Float32Array;
}

export function loadTransforms(name: string): GoldenFile {
  const golden = loadGolden("transforms", name);
  return {
    names: [...golden.tensors.keys()],
    json: golden.json,
    config: (golden.json["config"] ?? {}) as Record<string, unknown>, // our own reference file
    image(key) {
      const { shape, data } = goldenTensor(golden, key);
      const [h = 0, w = 0, c = 1] = shape;
      const at = (i: number): number => Number(data[c === 3 ? i : Math.floor(i / 3)] ?? 0);
      return makeImage(
        w,
        h,
        Uint8Array.from({ length: w * h * 3 }, (_, i) => at(i)),
      );
    },
    floats: (key) =>
      Float32Array.from({ length: goldenTensor(golden, key).data.length }, (_, i) => Number(goldenTensor(golden, key).data[i])),
  };
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
