import { expect, test } from "vitest";
import { averagePoints, spanOf, thinPeaks, ticks } from "./chart-scale.ts";
import { lineChart } from "./chart.ts";
import { shellWord, shortNumber } from "./html.ts";

const line = (n: number, y: (i: number) => number): readonly (readonly [number, number])[] =>
  Array.from({ length: n }, (_, i) => [i, y(i)] as const);

test("ticks() are round numbers inside the span", () => {
  expect(ticks(0, 1)).toEqual([0, 0.5, 1]);
  expect(ticks(3.2, 17)).toEqual([5, 10, 15]);
  expect(ticks(2, 2)).toEqual([2]);
});

test("spanOf() gives a single value room", () => {
  expect(spanOf([3, 1, 2])).toEqual([1, 3]);
  const [low, high] = spanOf([5, 5]);
  expect(low).toBeLessThan(5);
  expect(high).toBeGreaterThan(5);
});

test("thinPeaks() keeps least and greatest of thousands of points", () => {
  const points = line(5000, (i) => (i === 2500 ? 99 : i === 100 ? -99 : i % 7));
  const thin = thinPeaks(points, 200);
  expect(thin.length).toBeLessThanOrEqual(200);
  expect(thin.some(([, y]) => y === 99)).toBe(true);
  expect(thin.some(([, y]) => y === -99)).toBe(true);
  expect(thin.map(([x]) => x)).toEqual(thin.map(([x]) => x).toSorted((a, b) => a - b));
});

test("averagePoints() takes means of buckets and keeps a gap where nothing is finite", () => {
  expect(
    averagePoints(
      line(4, (i) => i),
      2,
    ),
  ).toEqual([
    [0.5, 0.5],
    [2.5, 2.5],
  ]);
  expect(
    averagePoints(
      line(2, () => NaN),
      1,
    ),
  ).toEqual([[0, NaN]]);
});

test("lineChart() leaves a gap where a value is not finite, and draws nothing without values", () => {
  const points = line(3, (i) => (i === 1 ? NaN : i));
  expect(lineChart({ title: "loss", series: [{ name: "loss", points }] })).toMatch(/d="M[\d. ]+M[\d. ]+"/);
  expect(lineChart({ title: "loss", series: [{ name: "loss", points: [[0, NaN]] }] })).toBe("");
});

test("lineChart() names its axes, levels and unit, and says its course in words", () => {
  const svg = lineChart({
    title: "Loss",
    unit: "nats",
    series: [{ name: "total", points: line(3, (i) => 4 - i) }],
    levels: [{ y: 4.5, name: "ln K <" }],
  });
  for (const part of ["<small>nats</small>", ">step</text>", "ln K &#60;", 'aria-label="Loss: total from 4 to 2"'])
    expect(svg).toContain(part);
});

test("lineChart() shows the values of every series at the pointer, without a script", () => {
  const series = [
    { name: "student", points: line(3, (i) => i) },
    { name: "teacher", points: line(3, (i) => 10 * i) },
  ];
  const svg = lineChart({ title: "t", series });
  expect(svg.match(/class="stop"/g)).toHaveLength(3);
  const second = svg.split('class="stop"')[2] ?? "";
  for (const part of ["step 1", "student", "teacher", ">10<"]) expect(second).toContain(part);
  expect(svg).toContain("stroke-dasharray"); // told apart without colour
});

test("lineChart() tells seven series apart by colour and dash, and gives each a place of its own", () => {
  const names = ["total", "globals", "locals", "masked patches", "KoLeo", "Gram", "images (class token)"];
  const svg = lineChart({ title: "t", series: names.map((name, i) => ({ name, points: line(3, (x) => x + i) })) });
  const last = /<g class="last">(.*?)<\/g>/.exec(svg)?.[1] ?? "";
  const places = [...last.matchAll(/<tspan x="([\d.]+)" y="(\d+)" style="fill:var\(--(\w)\)">([^<]*)/g)];
  expect(places.map(([, , , colour]) => colour)).toEqual(["a", "b", "c", "d", "e", "f", "g"]);
  expect(
    new Set([...svg.matchAll(/<path d="M[\d. ]+h\d+" stroke="[^"]*"( stroke-dasharray="[^"]*")?/g)].map(([, dash]) => dash)).size,
  ).toBe(7);
  places.forEach(([, x = "", y = "", , name = ""], i) => {
    const [, nextX = "", nextY = ""] = places[i + 1] ?? [];
    const ends = Number(x) + 6 * name.length + 40;
    expect(ends).toBeLessThanOrEqual(nextY === y ? Number(nextX) : 350);
  });
});

test("lineChart() marks whole steps only", () => {
  const svg = lineChart({ title: "t", series: [{ name: "rank", points: [[1, 4]] }] });
  expect([...svg.matchAll(/text-anchor="middle">([^<]*)</g)].map(([, mark]) => mark)).toEqual(["1", "step"]);
});

test("lineChart() of a long run stays small and draws averages over the faint raw line", () => {
  const svg = lineChart({ title: "t", series: [{ name: "loss", points: line(50_000, (i) => Math.sin(i)) }] });
  expect(svg.length).toBeLessThan(40_000);
  expect(svg).toContain('class="faint"');
});

test("lineChart() gives per cent where asked, and zero as the base", () => {
  const svg = lineChart({ title: "k-NN", format: "percent", fromZero: true, series: [{ name: "top-1", points: line(2, () => 0.5) }] });
  expect(svg).toContain("50.0 %");
  expect(svg).toContain(">0 %</text>");
});

test("shortNumber() fits an axis", () => {
  expect([0, 4.21321, 0.0005, 1.234e-6, 12_500, 1.25e6, -3].map((x) => shortNumber(x))).toEqual([
    "0",
    "4.213",
    "0.0005",
    "1.23e-6",
    "12,500",
    "1.25M",
    "-3",
  ]);
});

test("shellWord() quotes what a shell would split or read", () => {
  expect(shellWord("runs/first")).toBe("runs/first");
  expect(shellWord("my run; rm 'x'")).toBe(`'my run; rm '\\''x'\\'''`);
});
