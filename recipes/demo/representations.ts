/** @file Four ways to turn a picture into numbers: raw pixels, a colour histogram, the network before training and after. */
import type { Encoder } from "../../src/features/index.ts";
import { type HeldOut, SIZE_PX } from "./held-out.ts";

export interface Rows {
  /** `[n, dim]`. */
  readonly features: Float32Array;
  readonly dim: number;
}

/** Pictures `[n, 3, s, s]` -> rows. */
export type Represent = (images: Float32Array, count: number) => Promise<Rows>;

export interface Representation {
  readonly name: string;
  readonly represent: Represent;
}

const BINS = 4;
const BATCH = 100;

const pixels: Represent = (images, count) => Promise.resolve({ features: images, dim: images.length / count });

/** Counts of 4 × 4 × 4 colours, as square roots, so that a cosine compares distributions (Bhattacharyya). */
function histogramOf({ mean, std }: Pick<HeldOut, "mean" | "std">): Represent {
  return (images, count) => {
    const [dim, area] = [BINS ** 3, SIZE_PX ** 2];
    const features = new Float32Array(count * dim);
    const bin = (value: number, c: 0 | 1 | 2): number =>
      Math.max(0, Math.min(BINS - 1, Math.floor(BINS * (value * (std[c] ?? 1) + (mean[c] ?? 0)))));
    for (let i = 0; i < count; i++)
      for (let p = 0; p < area; p++) {
        const value = (c: 0 | 1 | 2): number => bin(images[(3 * i + c) * area + p] ?? 0, c);
        const at = i * dim + (value(0) * BINS + value(1)) * BINS + value(2);
        features[at] = (features[at] ?? 0) + 1;
      }
    return Promise.resolve({ features: features.map(Math.sqrt), dim });
  };
}

/** Class token and mean of the patch tokens. */
function featuresOf(encoder: Encoder): Represent {
  return async (images, count) => {
    const dim = encoder.dim("cls+mean");
    const features = new Float32Array(count * dim);
    const row = images.length / count;
    for (let i = 0; i < count; i += BATCH) {
      const batch = images.subarray(i * row, Math.min(count, i + BATCH) * row);
      features.set((await encoder.encode(batch, { pool: "cls+mean", sizePx: SIZE_PX })).features, i * dim);
    }
    return { features, dim };
  };
}

export interface Networks {
  readonly untrained: Encoder;
  readonly trained: Encoder;
}

/** The four, weakest first as one would guess. */
export function representations(heldOut: HeldOut, { untrained, trained }: Networks): readonly Representation[] {
  return [
    { name: "raw pixels", represent: pixels },
    { name: "colour histogram", represent: histogramOf(heldOut) },
    { name: "untrained network", represent: featuresOf(untrained) },
    { name: "trained network", represent: featuresOf(trained) },
  ];
}
