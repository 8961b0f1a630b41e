/** @file Makes the picture that a view plan describes: crop and resize, colour, blur, and the normalised planes. */
import { ShapeError } from "../core/index.ts";
import { blurInto } from "./blur.ts";
import { grayscaleInto, jitterInto } from "./colour.ts";
import { type ViewPlan } from "./crops.ts";
import { checkBox, type RgbImage } from "./image.ts";
import { makeNormaliseTable } from "./pixel-ops.ts";
import { resampleInto } from "./resample.ts";
import { simdArena } from "./simd/arena.ts";

let work = new Uint8Array(0);

/** The bytes of a view: where the SIMD kernels reach them, if there are any. */
function workOf(bytes: number): Uint8Array {
  const inArena = simdArena()?.take("view", bytes);
  if (inArena !== undefined) return inArena;
  if (work.length < bytes) work = new Uint8Array(bytes);
  return work.subarray(0, bytes);
}

/**
 * Writes one view as CHW float32 at `offset` of `out`: crop + resize, flip, jitter, grey, blur, solarise, normalise (DINO §1.3).
 * Flip, solarise and normalise are one pass at the end: a flip commutes with the rest, the other two are one table.
 * Throws ShapeError when the box is not inside the picture or the view does not fit.
 */
export function renderView(image: RgbImage, plan: ViewPlan, out: Float32Array, offset = 0): void {
  const { sizePx, box, kernel } = plan;
  checkBox(box, image);
  const bytes = sizePx * sizePx * 3;
  if (offset < 0 || offset + bytes > out.length)
    throw new ShapeError(`Cannot render view: ${bytes} values at ${offset} do not fit into ${out.length}; give a larger buffer`);
  const data = workOf(bytes);
  resampleInto(image, data, { width: sizePx, height: sizePx, box, kernel });
  jitterInto(data, plan.jitter);
  if (plan.grayscale) grayscaleInto(data);
  if (plan.blurSigma > 0) blurInto(data, { width: sizePx, height: sizePx, sigma: plan.blurSigma });
  writePlanes(data, out, { sizePx, offset, flip: plan.flip, table: tableOf(plan) });
}

/** The view as an eight-bit picture, for contact sheets. */
export function renderViewImage(image: RgbImage, plan: ViewPlan): RgbImage {
  const size = plan.sizePx;
  const planes = new Float32Array(size * size * 3);
  renderView(image, { ...plan, mean: [0, 0, 0], std: [1, 1, 1] }, planes);
  const data = new Uint8Array(planes.length);
  for (let i = 0; i < size * size; i++) for (let c = 0; c < 3; c++) data[i * 3 + c] = Math.round(planes[c * size * size + i]! * 255); // c < 3 planes
  return { width: size, height: size, data };
}

const tables = new Map<string, Float32Array>();

/** Solarise and normalise as one table of 3 x 256 floats; a run uses two of them. */
function tableOf({
  mean,
  std,
  solarizeThreshold,
}: {
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly solarizeThreshold: number;
}): Float32Array {
  const key = `${mean.join()}/${std.join()}/${solarizeThreshold}`;
  const known = tables.get(key);
  if (known !== undefined) return known;
  const plain = makeNormaliseTable(mean, std);
  const table = plain.slice();
  for (let c = 0; c < 3; c++) for (let v = 0; v < 256; v++) if (v >= solarizeThreshold) table[c * 256 + v] = plain[c * 256 + 255 - v]!; // inside 768
  if (tables.size >= 64) tables.clear();
  tables.set(key, table);
  return table;
}

interface PlanesJob {
  readonly sizePx: number;
  readonly offset: number;
  readonly flip: boolean;
  readonly table: Float32Array;
}

function writePlanes(data: Uint8Array, out: Float32Array, { sizePx, offset, flip, table }: PlanesJob): void {
  const plane = sizePx * sizePx;
  const green = offset + plane;
  const blue = green + plane;
  const stepBytes = flip ? -3 : 3;
  for (let y = 0; y < sizePx; y++) {
    let p = (y * sizePx + (flip ? sizePx - 1 : 0)) * 3;
    const row = y * sizePx;
    for (let i = row; i < row + sizePx; i++) {
      out[offset + i] = table[data[p]!]!; // bytes index tables of 256
      out[green + i] = table[256 + data[p + 1]!]!;
      out[blue + i] = table[512 + data[p + 2]!]!;
      p += stepBytes;
    }
  }
}
