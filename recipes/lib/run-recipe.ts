/** @file Trains one recipe with its labelled images watched, and writes its curve beside the recipe. */
import { fileURLToPath } from "node:url";
import { ProgressLine } from "../../src/cli/progress-line.ts";
import { processTerminal } from "../../src/cli/terminal.ts";
import { train, type UserConfig } from "../../src/train/index.ts";
import { knnCurve, type Point, writeCurves } from "./curves.ts";
import { pixelKnn } from "./labelled.ts";

const HERE = fileURLToPath(new URL("..", import.meta.url));

export interface Recipe {
  readonly name: string;
  readonly title: string;
  readonly config: UserConfig;
  readonly out: string;
  readonly resume: boolean;
  readonly bank: string;
  readonly test: string;
  readonly sizePx: number;
}

/** Trains, prints the table, writes `NAME.json` and `NAME.svg`. Returns the curve by steps. */
export async function runRecipe(recipe: Recipe): Promise<readonly Point[]> {
  const { name, title, config, out, resume, bank, test, sizePx } = recipe;
  const terminal = processTerminal();
  const progress = new ProgressLine(terminal);
  const watched: UserConfig = { ...config, knn: { ...config.knn, train: bank, test } };
  const options = { out, onNotice: (line: string) => progress.note(line), onProgress: progress.onProgress };
  const result = await (resume ? train({ ...options, resume }) : train({ ...options, config: watched }));
  progress.done();
  const pixels = await pixelKnn(bank, test, { sizePx });
  const curve = await knnCurve(out, "minutes");
  const best = Math.max(...curve.map(([, y]) => y));
  const facts = {
    steps: result.steps,
    minutes: Number((curve.at(-1)?.[0] ?? 0).toFixed(1)),
    waitShare: result.waitShare,
    pixels,
    untrained: curve[0]?.[1],
    last: curve.at(-1)?.[1],
    best,
    config: watched,
  };
  const levels = [{ y: pixels, name: "raw pixels" }];
  const chart = {
    title,
    unit: "k-NN top-1",
    format: "percent",
    xName: "minutes of training",
    levels,
    series: [{ name: "teacher", points: curve }],
  } as const;
  await writeCurves(HERE, name, { chart, facts: { ...facts, config: withoutPaths(watched) } });
  const percent = (x: number | undefined): string => `${(100 * (x ?? NaN)).toFixed(1)} %`;
  for (const [what, value] of [
    ["raw pixels", pixels],
    ["untrained", facts.untrained],
    ["best", best],
    ["last", facts.last],
  ] as const)
    // prettier-ignore
    terminal.out(`${what.padEnd(12)} ${percent(value)}\n`);
  return curve;
}

/** Where the pictures lie on this machine is nobody's business. */
function withoutPaths({ data, knn, ...config }: UserConfig): object {
  const { path: _path, ...restOfData } = data ?? {};
  const { train: _train, test: _test, ...restOfKnn } = knn ?? {};
  return { ...config, data: restOfData, knn: restOfKnn };
}
