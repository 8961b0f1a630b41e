import fc from "fast-check";
import { expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { DINO_AUGMENT, DINO_CROPS, drawCropBox, drawView, fallbackBox, roundHalfEven, viewPath } from "./crops.ts";
import { checkBox, makeImage } from "./image.ts";
import { renderView, renderViewImage } from "./render.ts";

const CROPS = { ...DINO_CROPS, globalSizePx: 12, localSizePx: 6 };
const side = fc.integer({ min: 1, max: 300 });

test("drawCropBox() lies inside a picture of any size", () => {
  fc.assert(
    fc.property(side, side, fc.nat(), (width, height, seed) =>
      checkBox(drawCropBox(new Rng(seed), { width, height, scaleRange: [0.05, 0.4] }), { width, height }),
    ),
  );
});

test("drawCropBox() keeps area and ratio in range, and falls back to the centre where nothing fits", () => {
  const size = { width: 400, height: 300 };
  for (let seed = 0; seed < 200; seed++) {
    const box = drawCropBox(new Rng(seed), { ...size, scaleRange: [0.4, 0.5] });
    const share = (box.width * box.height) / (400 * 300);
    expect(share).toBeGreaterThan(0.39);
    expect(share).toBeLessThan(0.51);
    expect(box.width / box.height).toBeGreaterThan(0.74);
    expect(box.width / box.height).toBeLessThan(1.35);
  }
  expect(drawCropBox(new Rng(1), { width: 200, height: 50, scaleRange: [5, 6] })).toEqual(fallbackBox({ width: 200, height: 50 }));
});

test("drawView() gives the same plan for the same path, as plain data", () => {
  const draw = (path: string): unknown =>
    drawView(new Rng(3, path), { width: 99, height: 77, view: 2, crops: CROPS, augment: DINO_AUGMENT });
  expect(draw(viewPath(0, 5, 2))).toEqual(draw(viewPath(0, 5, 2)));
  expect(draw(viewPath(0, 5, 2))).not.toEqual(draw(viewPath(1, 5, 2)));
  expect(JSON.parse(JSON.stringify(draw("a")))).toEqual(draw("a"));
});

test("drawView() meets DINO's probabilities", () => {
  const plans = Array.from({ length: 2000 }, (_, i) =>
    drawView(new Rng(1, `p/${i}`), { width: 50, height: 50, view: 1, crops: CROPS, augment: DINO_AUGMENT }),
  );
  const share = (test: (p: (typeof plans)[number]) => boolean): number => plans.filter(test).length / plans.length;
  expect(Math.abs(share((p) => p.flip) - 0.5)).toBeLessThan(0.05);
  expect(Math.abs(share((p) => p.jitter.length === 4) - 0.8)).toBeLessThan(0.05);
  expect(Math.abs(share((p) => p.grayscale) - 0.2)).toBeLessThan(0.05);
  expect(Math.abs(share((p) => p.blurSigma > 0) - 0.1)).toBeLessThan(0.05);
  expect(Math.abs(share((p) => p.solarizeThreshold < 256) - 0.2)).toBeLessThan(0.05);
  expect(Math.abs(share((p) => p.jitter[0]?.[0] === "hue") - 0.2)).toBeLessThan(0.05);
});

test("drawView() leaves out jitter steps of strength 0, and changing one probability moves no other draw", () => {
  const draw = (augment: typeof DINO_AUGMENT): ReturnType<typeof drawView> =>
    drawView(new Rng(4, "v"), { width: 50, height: 50, view: 0, crops: CROPS, augment });
  const always = draw({ ...DINO_AUGMENT, jitterProb: 1, hue: 0 });
  expect(always.jitter.map(([op]) => op).toSorted()).toEqual(["brightness", "contrast", "saturation"]);
  const { jitter: _a, ...rest } = always;
  const { jitter: _b, ...other } = draw({ ...DINO_AUGMENT, jitterProb: 0 });
  expect(rest).toEqual(other);
});

test("renderView() of a 1x1 picture works and refuses what does not fit", () => {
  const image = makeImage(1, 1, Uint8Array.of(200, 100, 50));
  const plan = drawView(new Rng(0, "x"), {
    width: 1,
    height: 1,
    view: 0,
    crops: CROPS,
    augment: { ...DINO_AUGMENT, jitterProb: 0, grayscale: 0 },
  });
  expect(renderViewImage(image, plan).data.slice(0, 3)).toEqual(image.data);
  expect(() => renderView(image, plan, new Float32Array(10), 0)).toThrow(/Cannot render view/);
  expect(() => renderView(image, { ...plan, box: { left: 1, top: 0, width: 1, height: 1 } }, new Float32Array(432))).toThrow(
    /Cannot crop image/,
  );
});

test("roundHalfEven() rounds as Python does", () => {
  expect([0.5, 1.5, 2.5, 2.4, 2.6, -0.5].map(roundHalfEven)).toEqual([0, 2, 2, 2, 3, 0]);
});
