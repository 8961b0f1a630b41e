/** @file One picture of what the network is trained on: each image beside its crops. Pure, no I/O. */
import { ShapeError } from "../core/index.ts";
import { type Grid, resizePicture, type RgbImage } from "./picture.ts";

/** An image and the crops made of it. */
export interface ContactRow {
  readonly image: RgbImage;
  readonly globals: readonly RgbImage[];
  /** The same parts of the picture as the globals, as a Gram teacher sees them: drawn as large as those, whatever their pixels. */
  readonly grams?: readonly RgbImage[];
  readonly locals: readonly RgbImage[];
}

export interface ContactSheetOptions {
  readonly gapPx?: number;
  readonly background?: readonly [r: number, g: number, b: number];
  /** Crops are enlarged by whole factors, without smoothing, until the largest has about this side. */
  readonly cellPx?: number;
  /** Where the largest crop is larger, all are made smaller by one factor. */
  readonly maxCellPx?: number;
}

/** What is masked is laid over with this, so that the picture is still seen through it. */
const MASK_COLOUR = [70, 76, 92] as const;
const MASK_OPACITY = 0.8;

/** A crop with its masked patches shaded: `mask` is not 0 for those, `[rows · cols]`. Throws ShapeError for another length. */
export function shadePatches(picture: RgbImage, { mask, rows, cols }: Grid & { readonly mask: ArrayLike<number> }): RgbImage {
  if (mask.length !== rows * cols)
    throw new ShapeError(`Cannot shade patches: the mask has ${mask.length} values; give one for each of ${rows} × ${cols} patches`);
  const { width, height } = picture;
  const data = Uint8Array.from(picture.data, (value, i) => {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    const masked = mask[Math.floor((y * rows) / height) * cols + Math.floor((x * cols) / width)] !== 0;
    return masked ? Math.round((1 - MASK_OPACITY) * value + MASK_OPACITY * (MASK_COLOUR[i % 3] ?? 0)) : value;
  });
  return { width, height, data };
}

interface Placed {
  readonly picture: RgbImage;
  readonly left: number;
  readonly top: number;
}

function enlarge(picture: RgbImage, zoom: number): RgbImage {
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.round(side * zoom))) as [number, number]; // two sides
  return resizePicture(picture, { width, height, smoothing: zoom < 1 ? "bilinear" : "nearest" });
}

/** Fits a picture into a square cell, centred. */
function fitInto(picture: RgbImage, cellPx: number): Placed {
  const scale = cellPx / Math.max(picture.width, picture.height);
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const fitted = resizePicture(picture, { width, height, smoothing: "bilinear" });
  return { picture: fitted, left: (cellPx - width) >> 1, top: (cellPx - height) >> 1 };
}

/** Crops below each other while they fit the row's height, then in the next column. */
function stack(
  crops: readonly RgbImage[],
  at: { readonly left: number; readonly cellPx: number; readonly gapPx: number },
): readonly Placed[] {
  const side = Math.max(1, ...crops.map((c) => Math.max(c.width, c.height)));
  const perColumn = Math.max(1, Math.floor((at.cellPx + at.gapPx) / (side + at.gapPx)));
  return crops.map((picture, i) => ({
    picture,
    left: at.left + Math.floor(i / perColumn) * (side + at.gapPx),
    top: (i % perColumn) * (side + at.gapPx),
  }));
}

function layRow(
  row: ContactRow,
  { zoom, cellPx, gapPx }: { readonly zoom: number; readonly cellPx: number; readonly gapPx: number },
): readonly Placed[] {
  const shown = row.globals.map((g) => enlarge(g, zoom));
  const grams = (row.grams ?? []).map((g, i) => {
    const { width = g.width, height = g.height } = shown[i] ?? {};
    return resizePicture(g, { width, height, smoothing: "bilinear" });
  });
  const large = [...shown, ...grams].map((picture, i) => ({ picture, left: (i + 1) * (cellPx + gapPx), top: 0 }));
  const locals = row.locals.map((l) => enlarge(l, zoom));
  return [fitInto(row.image, cellPx), ...large, ...stack(locals, { left: (large.length + 1) * (cellPx + gapPx), cellPx, gapPx })];
}

/** Lays out rows of: the image, its global crops, those of the Gram teacher, its local crops. Crops keep their sizes relative to each other. */
export function contactSheet(rows: readonly ContactRow[], options: ContactSheetOptions = {}): RgbImage {
  const { gapPx = 3, background = [232, 234, 238], cellPx: wantedPx = 128, maxCellPx = 256 } = options;
  const cropPx = Math.max(1, ...rows.flatMap((r) => [...r.globals, ...r.locals].map((c) => Math.max(c.width, c.height))));
  const zoom = cropPx > maxCellPx ? maxCellPx / cropPx : Math.max(1, Math.ceil(wantedPx / cropPx));
  const cellPx = Math.round(cropPx * zoom);
  const placed = rows.flatMap((row, i) =>
    layRow(row, { zoom, cellPx, gapPx }).map((p) => ({ ...p, left: p.left + gapPx, top: p.top + gapPx + i * (cellPx + gapPx) })),
  );
  const width = gapPx + Math.max(cellPx, ...placed.map((p) => p.left + p.picture.width));
  const height = gapPx + Math.max(cellPx, ...placed.map((p) => p.top + p.picture.height));
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i += 3) data.set(background, i);
  for (const { picture, left, top } of placed)
    for (let y = 0; y < picture.height; y++)
      data.set(picture.data.subarray(y * picture.width * 3, (y + 1) * picture.width * 3), ((top + y) * width + left) * 3);
  return { width, height, data };
}
