import { expect, test } from "vitest";
import { Rng } from "../../src/core/index.ts";
import { openCpu } from "../../src/engine/runtime/index.ts";
import { resolveConfig } from "../../src/train/index.ts";
import { methodOf } from "../../src/train/loop/method-config.ts";
import { optimizerOf } from "../../src/train/loop/scalars.ts";
import { Stepper } from "../../src/train/stepper.ts";
import { identityOf } from "./emoji.ts";
import { chanceOf, evaluate, KEPT, othersOf } from "./evaluation.ts";
import { type HeldOut, SIZE_PX } from "./held-out.ts";
import { startWeights } from "./networks.ts";
import { demoReport } from "./pages.ts";
import { representations } from "./representations.ts";

const drawing = (identity: string, vendor: string): HeldOut["drawings"][number] => ({
  identity,
  vendor,
  name: `<${identity}>`,
  path: import.meta.filename,
});

/** Two things by two vendors; each drawing is one flat colour, the same for both vendors. */
function heldOut(): HeldOut {
  const drawings = [drawing("a", "noto"), drawing("b", "noto"), drawing("a", "twemoji"), drawing("b", "twemoji")];
  const flat = (shift: number): Float32Array =>
    Float32Array.from({ length: drawings.length * 3 * SIZE_PX ** 2 }, (_, i) => {
      const at = Math.floor(i / (3 * SIZE_PX ** 2));
      const c = Math.floor(i / SIZE_PX ** 2) % 3;
      return c === at % 2 ? 1 : shift * at * (c === 2 ? 1 : 0);
    });
  return { drawings, first: flat(0.1), second: flat(0.1), whole: flat(0), mean: [0, 0, 0], std: [1, 1, 1] };
}

test("identityOf() drops variation selectors and refuses skin tones", () => {
  expect(identityOf("2764-FE0F")).toBe("2764");
  expect(identityOf("1f44b-1f3fb")).toBeUndefined();
});

test("evaluate() finds crops and other vendors' drawings; chanceOf() is that of a blind guess", async () => {
  const all = heldOut();
  expect([...othersOf(all)]).toEqual([1, 1, 1, 1]);
  expect(chanceOf(all)).toEqual({ otherCrop: 0.25, otherVendor: 0.5 });
  const pixels = await evaluate(all, {
    name: "raw pixels",
    represent: (images, n) => Promise.resolve({ features: images, dim: images.length / n }),
  });
  expect(pixels).toMatchObject({ otherCrop: 1, otherVendor: 1 });
  expect([...pixels.neighbours.subarray(0, KEPT)]).toEqual([2, 3, -1, -1, -1]);
});

test("startWeights() are those that a run of the same configuration begins with", async () => {
  const { config } = resolveConfig(
    { model: { arch: "vit", width: 16, depth: 1, heads: 2, patchSizePx: 4, imageSizePx: 16 }, train: { batchSize: 2, steps: 1 }, seed: 5 },
    { images: 100, medianSidePx: 16, cores: 1, memoryBytes: 8e9 },
  );
  using device = openCpu({ threads: 1 });
  await using stepper = new Stepper({ method: methodOf(config), device, optimizer: optimizerOf(config), threads: 1 });
  stepper.init(new Rng(config.seed).split("init"));
  for (const [name, data] of startWeights(config)) expect(data, name).toEqual(stepper.flats.teacher.view(`backbone.${name}`).slice());
});

test("demoReport() puts its sections on top, escapes names and credits every table", async () => {
  const all = heldOut();
  const two = representations(all, { untrained: null as never, trained: null as never }).slice(0, 2); // networks are not asked
  const evaluations = [];
  for (const one of two) evaluations.push(await evaluate(all, one));
  const credits = new Map([["noto", { name: "Noto", author: "Google", licence: "Apache 2.0" }]]);
  const run = { title: "run", verdict: "", facts: [], alarms: [], config: [], next: [] };
  const pictures = { title: "Attention", blocks: [{ kind: "pictures", columns: [""], rows: [] }] } as const;
  const page = await demoReport(
    { ...run, sections: [{ title: "Curves", blocks: [] }, pictures] },
    { heldOut: all, evaluations, chance: chanceOf(all), credits },
  );
  expect(page.sections.map((s) => s.title)).toEqual([
    "Things never seen",
    "The same drawing again",
    "The same thing by others",
    "Curves",
    "Attention",
  ]);
  expect(page.sections.map((s) => s.blocks.some((b) => b.kind === "credits"))).toEqual([false, true, true, false, true]);
});
