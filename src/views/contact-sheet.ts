/** @file One picture of what the network is trained on: each image beside its crops. Pure, no I/O. */
import { resizePicture, type RgbImage } from "./picture.ts";

/** An image and the crops made of it. */
export interface ContactRow {
  readonly image: RgbImage;
  readonly globals: readonly RgbImage[];
  readonly locals: readonly RgbImage[];
}

export interface ContactSheetOptions {
  readonly gapPx?: number;
  readonly background?: readonly [r: number, g: number, b: number];
  /** Crops are enlarged by whole factors, without smoothing, until a global one has about this side. */
  readonly cellPx?: number;
}

interface Placed {
  readonly picture: RgbImage;
  readonly left: number;
  readonly top: number;
}

const enlarge = (picture: RgbImage, zoom: number): RgbImage =>
  resizePicture(picture, { width: picture.width * zoom, height: picture.height * zoom });

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
  const globals = row.globals.map((g, i) => ({ picture: enlarge(g, zoom), left: (i + 1) * (cellPx + gapPx), top: 0 }));
  const locals = row.locals.map((l) => enlarge(l, zoom));
  return [fitInto(row.image, cellPx), ...globals, ...stack(locals, { left: (row.globals.length + 1) * (cellPx + gapPx), cellPx, gapPx })];
}

/** Lays out rows of: the image, its global crops, its local crops. Local crops keep their size relative to the global ones. */
export function contactSheet(rows: readonly ContactRow[], options: ContactSheetOptions = {}): RgbImage {
  const { gapPx = 3, background = [232, 234, 238], cellPx: wantedPx = 128 } = options;
  const cropPx = Math.max(1, ...rows.flatMap((r) => [...r.globals, ...r.locals].map((c) => Math.max(c.width, c.height))));
  const zoom = Math.max(1, Math.ceil(wantedPx / cropPx));
  const cellPx = cropPx * zoom;
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
