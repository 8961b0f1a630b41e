import { expect, test } from "vitest";
import type { Block, ReportPicture } from "./report-blocks.ts";
import { renderReport, type ReportData } from "./report.ts";

const empty: ReportData = { title: "t", verdict: "v", facts: [], alarms: [], sections: [], config: [], next: [] };
const EVIL = `<script>"x"&'y'</script>`;
const picture: ReportPicture = { mime: "image/png", bytes: Uint8Array.of(1, 2, 3), alt: EVIL };
const withBlocks = (...blocks: readonly Block[]): string => renderReport({ ...empty, sections: [{ title: "S", blocks }] });

test("renderReport() escapes every text that comes from outside and loads nothing from elsewhere", () => {
  const blocks: readonly Block[] = [
    { kind: "text", text: EVIL },
    { kind: "charts", charts: [{ title: EVIL, text: EVIL, unit: EVIL, xName: EVIL, series: [{ name: EVIL, points: [[0, 1]] }] }] },
    { kind: "pictures", columns: [EVIL], groups: [{ title: EVIL, span: 1 }], rows: [{ label: EVIL, cells: [picture] }] },
    { kind: "bars", columns: [EVIL], rows: [{ label: EVIL, values: [0.5] }] },
    { kind: "credits", title: EVIL, credits: [{ name: EVIL, author: EVIL, licence: EVIL, url: `https://x/${EVIL}` }] },
    { kind: "details", summary: EVIL, blocks: [{ kind: "text", text: EVIL }] },
  ];
  const html = renderReport({
    title: EVIL,
    verdict: EVIL,
    facts: [[EVIL, EVIL]],
    alarms: [`${EVIL}; ${EVIL}; ${EVIL}`],
    sections: [{ title: EVIL, text: EVIL, blocks }],
    config: [[EVIL, EVIL, EVIL]],
    next: [{ what: EVIL, command: EVIL }],
  });
  expect(html).not.toContain("<script");
  expect(html).not.toContain(`"x"&`);
  expect(html).not.toMatch(/src="(?!data:)/);
  expect(html).toContain("default-src 'none'");
  expect(html).toContain("&#60;script&#62;");
});

test("renderReport() leaves empty sections out, of the page and of its list of contents", () => {
  const html = renderReport({ ...empty, sections: [{ title: "Curves", text: "x", blocks: [{ kind: "charts", charts: [] }] }] });
  expect(html).not.toMatch(/Curves|Configuration<|Go on|<nav>/);
});

test("renderReport() links its sections and folds the configuration, grouped, with reasons", () => {
  const html = renderReport({
    ...empty,
    sections: [{ title: "Curves", blocks: [{ kind: "text", text: "x" }] }],
    config: [
      ["seed", "0", ""],
      ["model.depth", "12", "as published"],
    ],
    next: [{ what: "go", command: "tricera train" }],
  });
  expect(html).toContain('<a href="#part-1">Curves</a>');
  expect(html).toContain('<section id="part-3"><h2>Go on</h2>');
  expect(html).toMatch(/<details><summary>2 values.*<th colspan="3">model<\/th>.*as published/);
});

test("renderReport() shows alarms with what to do, and says when there were none", () => {
  const html = renderReport({ ...empty, alarms: ["Step 9: rank is 2; features collapse; raise objective.koleoWeight; or lower optim.lr"] });
  expect(html).toMatch(
    /role="alert".*Step 9: rank is 2.*features collapse.*What to do:<\/b> raise objective\.koleoWeight; or lower optim\.lr/,
  );
  expect(renderReport({ ...empty, alarms: ["only seen"] })).toContain("only seen");
  expect(renderReport(empty)).toContain("No collapse alarm");
});

test("pictures have alternative texts, and marks that do not need colour", () => {
  const marked = (mark: "right" | "wrong"): ReportPicture => ({ ...picture, alt: "cat.png", hint: "/a/cat.png", mark });
  const html = withBlocks({
    kind: "pictures",
    columns: ["", ""],
    rows: [{ cells: [marked("right"), undefined, marked("wrong")] }],
    sizePx: 60,
  });
  expect(html).toContain('alt="cat.png (right)" title="/a/cat.png" width="60"');
  expect(html).toMatch(/✓.*✗/);
  expect(html).toContain("data:image/png;base64,AQID");
  expect(html).not.toContain('<th scope="col">'); // columns without names have no heading row
});

test("bars fill their track at the greatest value of a column, and say the number", () => {
  const rows = [
    { label: "net", values: [0.4, 0], strong: true },
    { label: "pixels", values: [0.1, 0] },
  ];
  const html = withBlocks({ kind: "bars", columns: ["a", "b"], rows });
  expect([...html.matchAll(/width:([\d.]+)%"/g)].map((m) => m[1])).toEqual(["100.0", "0.0", "25.0", "0.0"]);
  expect(html).toContain("40.0 %");
});

test("credits link https addresses only", () => {
  const credit = { name: "Noto", author: "Google", licence: "Apache-2.0" };
  const html = withBlocks({
    kind: "credits",
    title: "Drawings:",
    credits: [
      { ...credit, url: "https://example.org/l" },
      { ...credit, url: "javascript:alert(1)" },
    ],
  });
  expect(html).toContain('href="https://example.org/l">Apache-2.0</a>');
  expect(html).not.toContain("javascript:");
});
