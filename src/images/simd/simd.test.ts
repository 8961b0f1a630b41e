import fc from "fast-check";
import { expect, test } from "vitest";
import { Rng } from "../../core/index.ts";
import { blurInto } from "../blur.ts";
import { drawView } from "../crops.ts";
import { DINO_AUGMENT, DINO_CROPS, type RgbImage } from "../index.ts";
import { renderView } from "../render.ts";
import { resampleInto } from "../resample.ts";
import { simdArena, withoutSimd } from "./arena.ts";

function noise(width: number, height: number, seed: number): RgbImage {
  const rng = new Rng(seed);
  // half of it black and white, so that cubic overshoot and the cut to bytes happen
  return {
    width,
    height,
    data: Uint8Array.from({ length: width * height * 3 }, () => (rng.bernoulli(0.5) ? rng.int(2) * 255 : rng.int(256))),
  };
}

const side = fc.integer({ min: 1, max: 90 });

test("this machine has the kernels", () => {
  expect(simdArena()).toBeDefined();
});

test("both passes of the kernels give the bytes of the plain loops, for every size, box and kernel", () => {
  const kernels = fc.constantFrom("bicubic", "bilinear", "lanczos", "box", "hamming");
  fc.assert(
    fc.property(side, side, side, side, kernels, fc.nat(), (w, h, width, height, kernel, seed) => {
      const image = noise(w, h, seed);
      const rng = new Rng(seed);
      const [left, top] = [rng.int(w), rng.int(h)];
      const box = { left, top, width: 1 + rng.int(w - left), height: 1 + rng.int(h - top) };
      const plain = new Uint8Array(width * height * 3);
      resampleInto(image, plain, { width, height, box, kernel });
      const view = simdArena()?.take("view", plain.length);
      if (view === undefined) throw new Error("there is no arena");
      view.fill(7);
      resampleInto(image, view, { width, height, box, kernel });
      expect(Buffer.from(view).equals(plain)).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test("blur by the kernels gives the bytes of the plain loops, for every size and radius", () => {
  fc.assert(
    fc.property(side, side, fc.double({ min: 0.05, max: 4, noNaN: true }), fc.nat(), (width, height, sigma, seed) => {
      const { data } = noise(width, height, seed);
      const view = simdArena()?.take("view", data.length);
      if (view === undefined) throw new Error("there is no arena");
      view.set(data);
      blurInto(data, { width, height, sigma });
      blurInto(view, { width, height, sigma });
      expect(Buffer.from(view).equals(data)).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test("views are the same with and without the kernels, picture after picture", () => {
  for (let i = 0; i < 12; i++) {
    const image = noise(40 + 17 * i, 200 - 13 * i, i);
    const plan = drawView(new Rng(i), { width: image.width, height: image.height, view: i % 4, crops: DINO_CROPS, augment: DINO_AUGMENT });
    const [a, b] = [new Float32Array(plan.sizePx ** 2 * 3), new Float32Array(plan.sizePx ** 2 * 3)];
    renderView(image, plan, a);
    withoutSimd(() => renderView(image, plan, b));
    expect(Buffer.from(a.buffer).equals(Buffer.from(b.buffer)), `view ${i}`).toBe(true);
  }
});

test("a slot that grows keeps apart from the others, and one that does not fit is refused", () => {
  const arena = simdArena();
  const [small, other] = [arena?.take("ping", 100), arena?.take("pong", 100)];
  small?.fill(1);
  other?.fill(2);
  arena?.take("ping", 100_000)?.fill(3);
  expect(new Set(arena?.take("pong", 100))).toEqual(new Set([2]));
  expect(arena?.take("middle", 2 ** 31)).toBeUndefined();
});
