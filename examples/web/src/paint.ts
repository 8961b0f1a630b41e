/** @file Maps over patches as pictures of one pixel a patch; the canvas enlarges them. */
import { colormap } from "tricera/web";
import type { Grid } from "./protocol.ts";

/** RGB a patch, opaque. */
export function rgbMap(rgb: Uint8Array, { rows, columns }: Grid): ImageData {
  const image = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    image.data.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  return image;
}

/** Values a patch in perceptual colours, `low` to `high`. */
export function heatMap(values: Float32Array, grid: Grid, [low, high]: readonly [number, number]): ImageData {
  const rgb = new Uint8Array(values.length * 3);
  for (const [i, value] of values.entries()) rgb.set(colormap("inferno", (value - low) / Math.max(1e-9, high - low)), 3 * i);
  return rgbMap(rgb, grid);
}

/** The colours of `heatMap`, low to high. */
export function drawRamp(canvas: HTMLCanvasElement): void {
  const values = Float32Array.from({ length: canvas.width }, (_, i) => i / (canvas.width - 1));
  canvas.getContext("2d")?.putImageData(heatMap(values, { rows: 1, columns: canvas.width }, [0, 1]), 0, 0);
}

/** The least and greatest of some values. */
export function rangeOf(...lists: readonly Float32Array[]): readonly [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) for (const value of list) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}

/** The least value, and one that a percent of them are above: a few peaks leave the rest visible. */
export function peaksCut(values: Float32Array): readonly [number, number] {
  const sorted = values.toSorted();
  return [sorted[0] ?? 0, sorted[Math.floor(0.99 * (sorted.length - 1))] ?? 1];
}

/** One head of attention `[heads, p]`, or the mean of all. */
export function headOf(attention: Float32Array, { rows, columns }: Grid, head: number | "mean"): Float32Array {
  const patches = rows * columns;
  if (head !== "mean") return attention.slice(head * patches, (head + 1) * patches);
  const heads = attention.length / patches;
  return Float32Array.from({ length: patches }, (_, p) => {
    let sum = 0;
    for (let h = 0; h < heads; h++) sum += attention[h * patches + p] ?? 0;
    return sum / heads;
  });
}

/** Draws a small picture over a whole canvas. */
export function drawMap(
  canvas: HTMLCanvasElement,
  map: ImageData,
  { smooth, opacity = 1 }: { readonly smooth: boolean; readonly opacity?: number },
): void {
  const context = canvas.getContext("2d");
  if (context === null) return;
  const small = new OffscreenCanvas(map.width, map.height);
  small.getContext("2d")?.putImageData(map, 0, 0);
  context.globalAlpha = opacity;
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = 1;
}
