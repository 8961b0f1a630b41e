/** @file Curves of a recipe as files: points as JSON, a picture as SVG that stands alone. */
import { join } from "node:path";
import { readMetrics } from "../../src/train/index.ts";
import { type ChartOptions, lineChart } from "../../src/views/index.ts";
import { writeFileAtomic } from "../../src/weights/index.ts";

export type Point = readonly [x: number, y: number];

/** Of `lineChart()`, which takes them of the report's page. */
const COLOURS = { a: "#3465c0", b: "#c05a1c", c: "#2b8a52", d: "#8a4bb5", e: "#8a6100", f: "#0b7285", g: "#5d6778" } as const;
const STYLE = `<style>text{font:11px system-ui,sans-serif;fill:#555}path{fill:none;stroke-width:2}path.faint{stroke-width:1;opacity:.3}line{stroke:#ddd}line.base{stroke:#888}line.level{stroke:#888;stroke-dasharray:4 3}.stop{display:none}</style>`;

/** A step that took so many times the median one was not computing: the process was stopped, or the machine asleep. */
const STOPPED = 10;

/** k-NN top-1 along a run: minutes of training (k-NN and stops not counted) or steps against shares of 1. */
export async function knnCurve(runDir: string, x: "steps" | "minutes"): Promise<Point[]> {
  const lines = await readMetrics(runDir);
  const times = lines.flatMap((line) => (typeof line["stepMs"] === "number" ? [line["stepMs"]] : [])).sort((a, b) => a - b);
  const median = times[times.length >> 1] ?? 0;
  let ms = 0;
  const points: Point[] = [];
  for (const line of lines) {
    const { step, stepMs, knnTop1 } = line;
    if (typeof stepMs === "number") ms += stepMs > STOPPED * median ? median : stepMs;
    // the untrained network is looked at after the first step
    const minutes = step === 0 ? 0 : Number((ms / 60_000).toFixed(3));
    if (typeof knnTop1 === "number") points.push([x === "steps" ? step : minutes, knnTop1]);
  }
  return points;
}

/** Writes `NAME.json` and `NAME.svg` into `folder`. */
export async function writeCurves(
  folder: string,
  name: string,
  { chart, facts }: { readonly chart: ChartOptions; readonly facts: object },
): Promise<void> {
  const series = Object.fromEntries(chart.series.map((s) => [s.name, s.points]));
  await writeFileAtomic(join(folder, `${name}.json`), `${JSON.stringify({ ...facts, series }, null, 1)}\n`);
  const drawn = /<svg[\s\S]*<\/svg>/.exec(lineChart(chart))?.[0] ?? "";
  const plain = Object.entries(COLOURS).reduce((svg, [key, value]) => svg.replaceAll(`var(--${key})`, value), drawn);
  const alone = plain
    .replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"')
    .replace(/(<svg[^>]*>)/, `$1${STYLE}<rect width="100%" height="100%" fill="#fff"/>`);
  await writeFileAtomic(join(folder, `${name}.svg`), `${alone}\n`);
}
