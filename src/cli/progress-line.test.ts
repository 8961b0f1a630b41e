import { expect, test } from "vitest";
import { formatProgress, formatSeconds, ProgressLine } from "./progress-line.ts";
import type { Terminal } from "./terminal.ts";

function recorder(isScreen: boolean): {
  terminal: Terminal;
  lines: string[];
  clock: { ms: number };
} {
  const lines: string[] = [];
  const clock = { ms: 0 };
  return {
    lines,
    clock,
    terminal: {
      out: () => undefined,
      err: (text) => void lines.push(text),
      isScreen,
      columns: 80,
      nowMs: () => clock.ms,
    },
  };
}

test("formatSeconds() speaks in units a person uses", () => {
  expect([0, 59, 60, 200, 3840].map(formatSeconds)).toEqual(["0 s", "59 s", "1 min 00 s", "3 min 20 s", "1 h 04 min"]);
});

test("formatProgress() shows count, rate, time left and detail", () => {
  const line = formatProgress(
    { what: "Training", done: 500, total: 1000, unit: "images", detail: "loss 6.2" },
    { perSecond: 250, secondsLeft: 2 },
    { bar: true },
  );
  expect(line).toBe("Training ████████████░░░░░░░░░░░░  50 %  500/1,000 images · 250 images/s · 2 s left · loss 6.2");
  expect(
    formatProgress({ what: "Steps", done: 3, total: 0, unit: "steps" }, { perSecond: 0.1, secondsLeft: undefined }, { bar: true }),
  ).toBe("Steps  3 steps · 10 s a step");
});

test("ProgressLine writes a line every few seconds where there is no screen, and the last one", () => {
  const { terminal, lines, clock } = recorder(false);
  const line = new ProgressLine(terminal);
  for (let done = 0; done <= 100; done++) {
    clock.ms = done * 200;
    line.onProgress({ what: "Embedding", done, total: 100, unit: "images" });
  }
  line.done();
  expect(lines.length).toBe(5);
  expect(lines.at(-1)).toBe("Embedding  100/100 images · 5.0 images/s\n");
  expect(lines.join("")).not.toContain("\r");
});

test("ProgressLine redraws one line on a screen and lets notes through", () => {
  const { terminal, lines, clock } = recorder(true);
  const line = new ProgressLine(terminal);
  line.onProgress({ what: "Training", done: 1, total: 10, unit: "steps", detail: "x".repeat(200) });
  clock.ms = 50;
  line.onProgress({ what: "Training", done: 2, total: 10, unit: "steps" });
  expect(lines.length).toBe(1);
  expect((lines[0] ?? "").replace("\r", "").replace("\x1b[K", "").length).toBeLessThan(80);
  line.note("a warning");
  expect(lines.at(-1)).toBe("a warning\n");
  line.done();
  expect(lines.at(-1)).toBe("\n");
});
