/** @file Line charts as SVG text. */

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface ChartOptions {
  readonly title: string;
  readonly series: readonly Series[];
}

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [420, 190, 54, 10, 10, 24];
const MAX_POINTS = 400;
const COLOURS = ["var(--a)", "var(--b)", "var(--c)", "var(--d)"];

/** Text made safe for HTML and SVG. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** Three to seven round numbers that lie in a span. */
export function ticks(low: number, high: number): readonly number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough) ?? rough;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const label = (x: number): string =>
  x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5) ? x.toExponential(0) : String(Number(x.toPrecision(4)));

function thin(points: Series["points"]): Series["points"] {
  const every = Math.ceil(points.length / MAX_POINTS);
  return points.filter((_, i) => i % every === 0 || i === points.length - 1);
}

/** A chart of one or a few series over steps; values that are not finite leave a gap. */
export function lineChart({ title, series }: ChartOptions): string {
  const all = series.flatMap((s) => s.points).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  if (all.length === 0) return "";
  const span = (i: 0 | 1): [number, number] => {
    const values = all.map((p) => p[i]);
    const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    return low === high ? [low - 0.5, high + 0.5] : [low, high];
  };
  const [[x0, x1], [y0, y1]] = [span(0), span(1)];
  const px = (x: number): string => (LEFT + ((x - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT)).toFixed(1);
  const py = (y: number): string => (HEIGHT - BOTTOM - ((y - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const rules = ticks(y0, y1).map(
    (y) =>
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${py(y)}" y2="${py(y)}"/><text x="${LEFT - 6}" y="${py(y)}" dy="4" text-anchor="end">${label(y)}</text>`,
  );
  const marks = ticks(x0, x1).map((x) => `<text x="${px(x)}" y="${HEIGHT - 6}" text-anchor="middle">${label(x)}</text>`);
  const lines = series.map(({ points }, i) => {
    let pen = "M";
    const path = thin(points).map(([x, y]) => {
      const finite = Number.isFinite(x) && Number.isFinite(y);
      const part = finite ? `${pen}${px(x)} ${py(y)}` : "";
      pen = finite ? "L" : "M";
      return part;
    });
    return `<path d="${path.join("")}" stroke="${COLOURS[i % COLOURS.length] ?? ""}"/>`;
  });
  const legend =
    series.length < 2
      ? ""
      : `<span class="legend">${series.map((s, i) => `<b style="color:${COLOURS[i % COLOURS.length] ?? ""}">${escapeHtml(s.name)}</b>`).join(" ")}</span>`;
  return `<figure class="chart"><figcaption>${escapeHtml(title)} ${legend}</figcaption><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(title)}">${rules.join("")}${marks.join("")}${lines.join("")}</svg></figure>`;
}
