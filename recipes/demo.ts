/** @file `npm run demo`: trains DINO for a few minutes on emoji and shows what it learned of drawings it never saw. */
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { Rng } from "../src/core/index.ts";
import { openCpu } from "../src/engine/runtime/index.ts";
import { Encoder, openModel } from "../src/features/index.ts";
import { DINO_AUGMENT } from "../src/images/index.ts";
import { initParam, vitSpecs } from "../src/nn/index.ts";
import { train } from "../src/train/index.ts";
import { writeFileAtomic } from "../src/weights/index.ts";
import { emojiDrawings } from "./demo/emoji.ts";
import { evaluate, makeViews, type Recall, type Represent, SIZE_PX } from "./demo/tasks.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = join(root, "runs", "demo");
const minutes = Number(process.env["TRICERA_DEMO_MINUTES"] ?? 3.5);
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const terminal = process.stdout.isTTY;

let lastShown = 0;
function show(line: string, done: boolean): void {
  if (!done && Date.now() - lastShown < (terminal ? 200 : 15_000)) return;
  lastShown = Date.now();
  process.stdout.write(terminal ? `\r\x1b[K${line}${done ? "\n" : ""}` : `${line}\n`);
}

say("Drawing emoji of five vendors (once; kept in .cache/)");
const { train: seen, test } = await emojiDrawings(root, (n) => show(`  ${n} drawn`, false));
await writeFileAtomic(join(root, ".cache", "emoji", "train.txt"), seen.map((d) => `${d.path}\n`).join(""));
say(`\n${seen.length} drawings to learn from; ${test.length} of other things held out`);

const result = await train({
  config: {
    data: { path: join(root, ".cache", "emoji", "train.txt"), alpha: "white" },
    model: { arch: "vit", width: 96, depth: 4, heads: 3, patchSizePx: 4, imageSizePx: SIZE_PX },
    crops: { globalSizePx: SIZE_PX, localSizePx: 16, localCount: 2 },
    head: { prototypes: 512 },
    objective: { centering: "sinkhorn", koleoWeight: 0.1, teacherTemp: 0.05, warmupTeacherTemp: 0.05 },
    train: { batchSize: 128, minutes },
  },
  out,
  overwrite: true,
  onNotice: say,
  onProgress: ({ done, total, detail }) => show(`  step ${done}/${total}  ${detail ?? ""}`, done === total),
});

using device = openCpu({ threads: 2 });
const { encoder: trained, mean, std } = await openModel(join(out, "exported", "last"), device);
const views = await makeViews(test, { ...DINO_AUGMENT, mean, std });
const start = new Map(
  vitSpecs(trained.config).map((s) => {
    const data = new Float32Array(s.shape.reduce((a, b) => a * b, 1));
    initParam(s, data, new Rng(0).split("init"));
    return [s.name, data] as const;
  }),
);
using untrained = new Encoder({ config: trained.config, params: start, device });
const byEncoder =
  (encoder: Encoder): Represent =>
  async (images, count) => {
    const dim = encoder.dim("cls+mean");
    const features = new Float32Array(count * dim);
    const row = images.length / count;
    for (let i = 0; i < count; i += 100)
      features.set(
        (await encoder.encode(images.subarray(i * row, Math.min(count, i + 100) * row), { pool: "cls+mean", sizePx: SIZE_PX })).features,
        i * dim,
      );
    return { features, dim };
  };
const BINS = 4;
const histogram: Represent = async (images, count) => {
  const [dim, area] = [BINS ** 3, SIZE_PX ** 2];
  const features = new Float32Array(count * dim);
  for (let i = 0; i < count; i++)
    for (let p = 0; p < area; p++) {
      const bin = (c: 0 | 1 | 2): number =>
        Math.max(0, Math.min(BINS - 1, Math.floor(BINS * ((images[(3 * i + c) * area + p] ?? 0) * std[c] + mean[c]))));
      const at = i * dim + (bin(0) * BINS + bin(1)) * BINS + bin(2);
      features[at] = (features[at] ?? 0) + 1;
    }
  return { features: features.map(Math.sqrt), dim };
};
const pixels: Represent = async (images, count) => ({ features: images, dim: images.length / count });

const rows: (readonly [string, Recall])[] = [];
for (const [name, represent] of [
  ["raw pixels", pixels],
  ["colour histogram", histogram],
  ["untrained network", byEncoder(untrained)],
  ["trained network", byEncoder(trained)],
] as const)
  rows.push([name, await evaluate(views, represent, { mean, std })]);
const percent = (x: number): string => `${(100 * x).toFixed(1)} %`.padStart(8);
say(`\nFound at first try, among ${views.drawings.length} drawings of things never seen:\n`);
say("                     other crop   other vendor");
for (const [name, { otherCrop, otherVendor }] of rows) say(`${name.padEnd(20)} ${percent(otherCrop)}      ${percent(otherVendor)}`);
const [before, after] = [rows[2]?.[1], rows[3]?.[1]];
if (before !== undefined && after !== undefined)
  say(
    `\nTrained over untrained: ${(after.otherCrop / before.otherCrop).toFixed(2)} × and ${(after.otherVendor / before.otherVendor).toFixed(2)} × after ${result.minutes?.toFixed(1) ?? "?"} minutes`,
  );
await writeFileAtomic(
  join(out, "demo.json"),
  `${JSON.stringify(Object.fromEntries(rows.map(([name, { otherCrop, otherVendor }]) => [name, { otherCrop, otherVendor }])), null, 2)}\n`,
);
trained[Symbol.dispose]();
say(`Report: ${relative(process.cwd(), join(out, "report.html"))}`);
