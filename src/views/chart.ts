/** @file Line charts as SVG text: axes, ticks, units, and a readout under the pointer that needs no script. */
import { averagePoints, isFinitePoint, type Point, spanOf, thinPeaks, ticks } from "./chart-scale.ts";
import { escapeHtml, percent, shortNumber } from "./html.ts";

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

/** A level worth knowing, drawn as a dashed line with its name. */
export interface Level {
  readonly y: number;
  readonly name: string;
}

export interface ChartOptions {
  readonly title: string;
  /** One line for the reader: what it is and which way is good. */
  readonly text?: string;
  /** Of y, behind the title. */
  readonly unit?: string;
  readonly series: readonly Series[];
  readonly levels?: readonly Level[];
  /** `percent`: shares of 1 are shown as per cent. */
  readonly format?: "number" | "percent";
  /** Begin y at 0. */
  readonly fromZero?: boolean;
  /** Name of x; default `step`. */
  readonly xName?: string;
}

/** `PLOT` is the height of the plot: the readout above it grows with the series. */
const [WIDTH, PLOT, LEFT, RIGHT, BOTTOM] = [350, 142, 44, 14, 34];
/** The readout: room of a line, of the place, of a key, of a letter of a name and of a value. */
const [LINE_PX, PLACE_PX, KEY_PX, LETTER_PX, VALUE_PX] = [14, 72, 22, 6.2, 52];
/** Above this many points a series is drawn faint, with its averages strong on top. */
const NOISY_POINTS = 120;
const MAX_POINTS = 400;
const AVERAGES = 60;
/** Places under the pointer that tell their values. */
const MAX_STOPS = 60;
const COLOURS = ["var(--a)", "var(--b)", "var(--c)", "var(--d)", "var(--e)", "var(--f)", "var(--g)"];
/** Series differ by dash too: for print and for eyes that tell colours badly. */
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "12 4", "4 2 1 2", "1 4"];

interface Frame {
  readonly x: (value: number) => string;
  readonly y: (value: number) => string;
  readonly spanX: readonly [number, number];
  readonly spanY: readonly [number, number];
  readonly label: (value: number) => string;
  /** Where the readout has each series. */
  readonly places: readonly Place[];
  /** Upper and lower edge of the plot. */
  readonly top: number;
  readonly bottom: number;
}

interface Place {
  readonly x: number;
  readonly line: number;
}

const colourOf = (i: number): string => COLOURS[i % COLOURS.length] ?? "";

function styleOf(i: number): string {
  const dash = DASHES[i % DASHES.length] ?? "";
  return `stroke="${colourOf(i)}"${dash === "" ? "" : ` stroke-dasharray="${dash}"`}`;
}

/** Series one after another, right of the place on the first line, then on lines of their own, as their names have room. */
function placesOf(series: readonly Series[]): readonly Place[] {
  if (series.length < 2) return series.map(() => ({ x: LEFT + PLACE_PX, line: 0 }));
  let [x, line] = [LEFT + PLACE_PX, 0];
  return series.map(({ name }) => {
    const wide = KEY_PX + LETTER_PX * name.length + VALUE_PX;
    if (x + wide > WIDTH) [x, line] = [LEFT, line + 1];
    const place = { x, line };
    x += wide;
    return place;
  });
}

function frameOf({ series, levels = [], fromZero = false, format = "number" }: ChartOptions): Frame | undefined {
  const points = series.flatMap((s) => s.points).filter(isFinitePoint);
  if (points.length === 0) return undefined;
  const places = placesOf(series);
  const top = 10 + LINE_PX * (1 + (places.at(-1)?.line ?? 0));
  const bottom = top + PLOT;
  const spanX = spanOf(points.map(([x]) => x));
  const [low, high] = spanOf([...points.map(([, y]) => y), ...levels.map((l) => l.y), ...(fromZero ? [0] : [])]);
  const spanY = [low, levels.length > 0 ? high + 0.1 * (high - low) : high] as const; // room for a level's name
  const scale = (value: number, [low, high]: readonly [number, number], [from, to]: readonly [number, number]): string =>
    (from + ((value - low) / (high - low)) * (to - from)).toFixed(1);
  return {
    x: (value) => scale(value, spanX, [LEFT, WIDTH - RIGHT]),
    y: (value) => scale(value, spanY, [bottom, top]),
    places,
    top,
    bottom,
    spanX,
    spanY,
    label: format === "percent" ? percent : (value) => shortNumber(value),
  };
}

function pathOf(points: readonly Point[], { x, y }: Frame): string {
  let pen = "M";
  return points
    .map((p) => {
      const finite = isFinitePoint(p);
      const part = finite ? `${pen}${x(p[0])} ${y(p[1])}` : "";
      pen = finite ? "L" : "M";
      return part;
    })
    .join("");
}

function lineOf({ points }: Series, index: number, frame: Frame): string {
  const style = styleOf(index);
  if (points.length > NOISY_POINTS)
    return `<path class="faint" d="${pathOf(thinPeaks(points, MAX_POINTS), frame)}" ${style}/><path d="${pathOf(averagePoints(points, AVERAGES), frame)}" ${style}/>`;
  const dots = points
    .filter((p) => points.length <= 24 && isFinitePoint(p))
    .map(([px, py]) => `<circle cx="${frame.x(px)}" cy="${frame.y(py)}" r="2.4" fill="${colourOf(index)}"/>`);
  return `<path d="${pathOf(points, frame)}" ${style}/>${dots.join("")}`;
}

function axes({ x, y, spanX, spanY, label, bottom }: Frame, { xName = "step", format }: ChartOptions): string {
  const short = format === "percent" ? (v: number): string => `${shortNumber(100 * v, 3)} %` : label;
  const rules = ticks(...spanY).map(
    (v) =>
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(v)}" y2="${y(v)}"/><text x="${LEFT - 6}" y="${y(v)}" dy="4" text-anchor="end">${short(v)}</text>`,
  );
  const marks = ticks(...spanX)
    .filter((v) => xName !== "step" || Number.isInteger(v))
    .map(
      (v) =>
        `<line class="tick" x1="${x(v)}" x2="${x(v)}" y1="${bottom}" y2="${bottom + 4}"/><text x="${x(v)}" y="${bottom + 16}" text-anchor="middle">${shortNumber(v)}</text>`,
    );
  const base = `<line class="base" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${bottom}" y2="${bottom}"/>`;
  return `${rules.join("")}${base}${marks.join("")}<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${bottom + BOTTOM - 3}" text-anchor="middle">${escapeHtml(xName)}</text>`;
}

function levelLine({ y: value, name }: Level, { y, top }: Frame): string {
  const above = Number(y(value)) > top + 10;
  return `<line class="level" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(value)}" y2="${y(value)}"/><text x="${WIDTH - RIGHT - 2}" y="${y(value)}" dy="${above ? -4 : 12}" text-anchor="end">${escapeHtml(name)}</text>`;
}

/** Above the plot: the place, then every series in its colour with its value there. */
function readout(
  place: string,
  values: readonly (number | undefined)[],
  { series, frame }: { readonly series: readonly Series[]; readonly frame: Frame },
): string {
  const parts = series.map((s, i) => {
    const value = values[i];
    const many = series.length > 1;
    const { x, line } = frame.places[i] ?? { x: LEFT, line: 0 };
    const name = many ? `${escapeHtml(s.name)} ` : "";
    return `<tspan x="${(x + (many ? KEY_PX : 0)).toFixed(1)}" y="${12 + LINE_PX * line}" style="fill:${colourOf(i)}">${name}<tspan class="value">${value === undefined ? "–" : frame.label(value)}</tspan></tspan>`;
  });
  return `<text x="${LEFT}" y="12">${escapeHtml(place)}${parts.join("")}</text>`;
}

/** A piece of each line before its name. */
function keys({ places }: Frame): string {
  if (places.length < 2) return "";
  return places.map(({ x, line }, i) => `<path d="M${x.toFixed(1)} ${8 + LINE_PX * line}h${KEY_PX - 5}" ${styleOf(i)}/>`).join("");
}

const valueAt = ({ points }: Series, x: number): number | undefined => points.findLast((p) => p[0] === x && isFinitePoint(p))?.[1];

/** Columns that show the values at one x when the pointer is over them. */
function hoverStops({ series, xName = "step" }: ChartOptions, frame: Frame): string {
  const xs = [...new Set(series.flatMap((s) => s.points.filter(isFinitePoint).map(([x]) => x)))].sort((a, b) => a - b);
  const every = Math.ceil(xs.length / MAX_STOPS);
  const stops = xs.filter((_, i) => i % every === 0 || i === xs.length - 1);
  return stops
    .map((at, i) => {
      const here = Number(frame.x(at));
      const left = i === 0 ? LEFT : (Number(frame.x(stops[i - 1] ?? at)) + here) / 2;
      const right = i === stops.length - 1 ? WIDTH - RIGHT : (here + Number(frame.x(stops[i + 1] ?? at))) / 2;
      const values = series.map((s) => valueAt(s, at));
      const dots = values.flatMap((v, s) =>
        v === undefined ? [] : [`<circle cx="${here}" cy="${frame.y(v)}" r="3.5" fill="${colourOf(s)}"/>`],
      );
      return `<g class="stop"><rect x="${left.toFixed(1)}" y="${frame.top}" width="${Math.max(1, right - left).toFixed(1)}" height="${PLOT}"/><g><line x1="${here}" x2="${here}" y1="${frame.top}" y2="${frame.bottom}"/>${dots.join("")}${readout(`${xName} ${shortNumber(at)}`, values, { series, frame })}</g></g>`;
    })
    .join("");
}

function describe({ title, series }: ChartOptions, { label }: Frame): string {
  const courses = series.flatMap(({ name, points }) => {
    const there = points.filter(isFinitePoint);
    const [first, last] = [there[0], there.at(-1)];
    return first === undefined || last === undefined ? [] : [`${name} from ${label(first[1])} to ${label(last[1])}`];
  });
  return `${title}: ${courses.join(", ")}`;
}

/** A chart of one or a few series over steps; values that are not finite leave a gap. Empty text when there is nothing to draw. */
export function lineChart(options: ChartOptions): string {
  const drawn = { ...options, series: options.series.filter((s) => s.points.some(isFinitePoint)) };
  const { title, text, unit, series, levels = [] } = drawn;
  const frame = frameOf(drawn);
  if (frame === undefined) return "";
  const last = series.map((s) => s.points.findLast(isFinitePoint)?.[1]);
  const svg = [
    axes(frame, drawn),
    levels.map((l) => levelLine(l, frame)).join(""),
    series.map((s, i) => lineOf(s, i, frame)).join(""),
    keys(frame),
    `<g class="last">${readout("last", last, { series, frame })}</g>`,
    hoverStops(drawn, frame),
  ].join("");
  const note = text === undefined ? "" : `<p>${escapeHtml(text)}</p>`;
  const unitText = unit === undefined ? "" : ` <small>${escapeHtml(unit)}</small>`;
  return `<figure class="chart"><figcaption><b>${escapeHtml(title)}</b>${unitText}${note}</figcaption><svg viewBox="0 0 ${WIDTH} ${frame.bottom + BOTTOM}" role="img" aria-label="${escapeHtml(describe(drawn, frame))}">${svg}</svg></figure>`;
}
