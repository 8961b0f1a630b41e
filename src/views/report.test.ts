import { expect, test } from "vitest";
import { lineChart, ticks } from "./chart.ts";
import { renderReport } from "./report.ts";

const empty = { title: "t", verdict: "v", facts: [], alarms: [], charts: [], pictures: [], config: [], next: [] };

test("renderReport() escapes what comes from outside and refers to nothing outside", () => {
  const html = renderReport({ ...empty, title: "<script>x</script>", facts: [["a&b", '"q"']], next: ["tricera <x>"] });
  expect(html).not.toContain("<script>");
  expect(html).toContain("&#60;script&#62;");
  expect(html).not.toMatch(/(?:src|href)="https?:/);
});

test("renderReport() leaves empty sections out", () => {
  expect(renderReport(empty)).not.toMatch(/Along the run|Configuration<|Go on/);
});

test("lineChart() leaves a gap where a value is not finite, and draws nothing without values", () => {
  const points = [
    [0, 1],
    [1, NaN],
    [2, 3],
  ] as const;
  expect(lineChart({ title: "loss", series: [{ name: "loss", points }] })).toMatch(/d="M[\d. ]+M[\d. ]+"/);
  expect(lineChart({ title: "loss", series: [{ name: "loss", points: [[0, NaN]] }] })).toBe("");
});

test("ticks() are round numbers inside the span", () => {
  expect(ticks(0, 1)).toEqual([0, 0.5, 1]);
  expect(ticks(3.2, 17)).toEqual([5, 10, 15]);
  expect(ticks(2, 2)).toEqual([2]);
});
