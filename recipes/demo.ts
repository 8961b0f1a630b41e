/** @file `npm run demo`: trains DINO for a few minutes on emoji and shows what it learned of drawings it never saw. */
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { ProgressLine } from "../src/cli/progress-line.ts";
import { processTerminal } from "../src/cli/terminal.ts";
import { openCpu } from "../src/engine/runtime/index.ts";
import { train, type TrainResult, type UserConfig } from "../src/train/index.ts";
import { readConfig } from "../src/train/loop/prepare.ts";
import { readReport } from "../src/train/probes/run-report.ts";
import { type Credit, percent, renderReport } from "../src/views/index.ts";
import { writeFileAtomic } from "../src/weights/index.ts";
import { type Drawing, type Emoji, emojiDrawings, VENDORS } from "./demo/emoji.ts";
import { chanceOf, type Evaluation, evaluate } from "./demo/evaluation.ts";
import { makeHeldOut, SIZE_PX } from "./demo/held-out.ts";
import { creditOf } from "./demo/licences.ts";
import { openNetworks } from "./demo/networks.ts";
import { demoReport, type Findings } from "./demo/pages.ts";
import { representations } from "./demo/representations.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = join(root, "runs", "demo");
const manifest = join(root, ".cache", "emoji", "train.txt");
const minutes = Number(process.env["TRICERA_DEMO_MINUTES"] ?? 3.5);
const terminal = processTerminal();
const progress = new ProgressLine(terminal);
const say = (line: string): void => terminal.out(`${line}\n`);

async function prepare(): Promise<Emoji> {
  say("Emoji of five vendors (drawn once, kept in .cache/)");
  const emoji = await emojiDrawings(root, { onProgress: progress.onProgress });
  progress.done();
  await writeFileAtomic(manifest, emoji.train.map((d) => `${d.path}\n`).join(""));
  say(`${emoji.train.length} drawings to learn from; ${emoji.test.length} of other things held out`);
  return emoji;
}

/**
 * A few hundred steps are all there is: small batches, few prototypes and a high learning rate make the most of them;
 * without local crops, which are 16 px here, a step takes two thirds of the time.
 */
async function learn(): Promise<TrainResult> {
  const config: UserConfig = {
    data: { path: manifest, alpha: "white" },
    model: { arch: "vit", width: 96, depth: 4, heads: 3, patchSizePx: 4, imageSizePx: SIZE_PX },
    crops: { globalSizePx: SIZE_PX, localSizePx: 16, localCount: 0 },
    head: { prototypes: 256 },
    objective: { centering: "sinkhorn", koleoWeight: 0.1, teacherTemp: 0.04, warmupTeacherTemp: 0.04 },
    optim: { lr: 0.002 },
    train: { batchSize: 64, minutes },
  };
  const note = (line: string): void => progress.note(line);
  const result = await train({ config, out, overwrite: true, onNotice: note, onProgress: progress.onProgress });
  progress.done();
  return result;
}

async function examine(test: readonly Drawing[]): Promise<Findings> {
  using device = openCpu({ threads: 2 });
  const networks = await openNetworks(out, device);
  using _trained = networks.trained;
  using _untrained = networks.untrained;
  const heldOut = await makeHeldOut(test, (await readConfig(out)).config.augment);
  const all = representations(heldOut, networks);
  const evaluations: Evaluation[] = [];
  for (const [i, one] of all.entries()) {
    evaluations.push(await evaluate(heldOut, one));
    progress.onProgress({ what: "looking for things never seen", done: i + 1, total: all.length, unit: "representations" });
  }
  progress.done();
  const credits = await Promise.all(VENDORS.map(async (v): Promise<[string, Credit]> => [v, await creditOf(root, v)]));
  return { heldOut, evaluations, chance: chanceOf(heldOut), credits: new Map(credits) };
}

function tell({ heldOut, evaluations, chance }: Findings, result: TrainResult): void {
  const line = (name: string, otherCrop: number, otherVendor: number): string =>
    `${name.padEnd(20)} ${percent(otherCrop).padStart(10)}   ${percent(otherVendor).padStart(12)}`;
  say(`\nFound at first try, among ${heldOut.drawings.length} drawings of things never seen:\n`);
  say(`${" ".repeat(20)} ${"other crop".padStart(10)}   ${"other vendor".padStart(12)}`);
  say(line("a blind guess", chance.otherCrop, chance.otherVendor));
  for (const { name, otherCrop, otherVendor } of evaluations) say(line(name, otherCrop, otherVendor));
  const [before, after] = evaluations.slice(-2);
  if (before === undefined || after === undefined) return;
  const gain = (a: number, b: number): string => `${(a / b).toFixed(2)} ×`;
  say(
    `\nTrained over untrained: ${gain(after.otherCrop, before.otherCrop)} and ${gain(after.otherVendor, before.otherVendor)} after ${result.minutes?.toFixed(1) ?? "?"} minutes`,
  );
}

async function write(findings: Findings): Promise<void> {
  await writeFileAtomic(join(out, "report.html"), renderReport(await demoReport(await readReport(out), findings)));
  const table = findings.evaluations.map(({ name, otherCrop, otherVendor }) => [name, { otherCrop, otherVendor }]);
  await writeFileAtomic(join(out, "demo.json"), `${JSON.stringify(Object.fromEntries(table), null, 2)}\n`);
}

const { test } = await prepare();
const result = await learn();
const findings = await examine(test);
tell(findings, result);
await write(findings);
say(`Report: ${relative(process.cwd(), join(out, "report.html"))}`);
