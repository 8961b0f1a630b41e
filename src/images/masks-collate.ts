/** @file Masks as lists of masked patches, padded to a fixed length, of a batch or of a part of it. Contracts 7 and 8. */
import { ShapeError } from "../core/index.ts";

export interface CollateMasksOptions {
  /** Crops in `masks`. */
  readonly slots: number;
  /** Patches of a crop. */
  readonly patches: number;
  /** Length of the lists: `maskUpperBound()`. */
  readonly upperBound: number;
}

/** Masked patches of several crops; rows past `count` are padding: index 0, weight 0, not valid. */
export interface MaskList {
  /** `[upperBound]`: slot · patches + patch, rising. */
  readonly indices: Int32Array;
  /** `[upperBound]`: 1 / masked patches of the row's crop. */
  readonly weights: Float32Array;
  /** `[upperBound]` of 1 (a masked patch) and 0. */
  readonly valid: Float32Array;
  readonly count: number;
}

/** Masks `[slots · patches]` as a padded list. Throws ShapeError where the masks have another size, or more patches than the list takes. */
export function collateMasks(masks: Uint8Array, { slots, patches, upperBound }: CollateMasksOptions): MaskList {
  checkSize(masks, slots, patches);
  const [indices, weights, valid] = [new Int32Array(upperBound), new Float32Array(upperBound), new Float32Array(upperBound)];
  let count = 0;
  for (let slot = 0; slot < slots; slot++) {
    const mask = masks.subarray(slot * patches, (slot + 1) * patches);
    const masked = mask.reduce((n, m) => n + Number(m !== 0), 0);
    if (count + masked > upperBound)
      throw new ShapeError(
        `Cannot list masked patches: crops 0 to ${slot} have ${count + masked}, the list takes ${upperBound}; make it maskUpperBound() long`,
      );
    mask.forEach((m, patch) => {
      if (m === 0) return;
      indices[count] = slot * patches + patch;
      weights[count] = 1 / masked;
      valid[count++] = 1;
    });
  }
  return { indices, weights, valid, count };
}

export interface SliceMasksOptions {
  readonly patches: number;
  /** Images of the batch, B; the masks are crop-major `[crops, B, patches]`. */
  readonly images: number;
  /** First and past-the-last image of the part. */
  readonly range: readonly [from: number, to: number];
}

/** The masks of some images of a batch: crop-major `[crops · B · patches]` -> `[crops · (to − from) · patches]`. Throws ShapeError. */
export function sliceMasks(masks: Uint8Array, { patches, images, range: [from, to] }: SliceMasksOptions): Uint8Array {
  const crops = masks.length / (images * patches);
  checkSize(masks, Math.ceil(crops) * images, patches);
  if (!(from >= 0 && from <= to && to <= images))
    throw new ShapeError(`Cannot slice masks: images ${from} to ${to} are not among ${images}; give a range within the batch`);
  const part = new Uint8Array(crops * (to - from) * patches);
  for (let v = 0; v < crops; v++)
    part.set(masks.subarray((v * images + from) * patches, (v * images + to) * patches), v * (to - from) * patches);
  return part;
}

function checkSize(masks: Uint8Array, slots: number, patches: number): void {
  if (masks.length !== slots * patches)
    throw new ShapeError(`Cannot read masks: ${masks.length} values are not ${slots} crops of ${patches} patches; pass whole crops`);
}
