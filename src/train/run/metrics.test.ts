import { existsSync } from "node:fs";
import { appendFile, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MetricsLog, readMetrics } from "./metrics.ts";
import { openTrainLog } from "./train-log.ts";

let run = "";
beforeEach(async () => {
  run = await mkdtemp(join(tmpdir(), "tricera-metrics-"));
});
afterEach(() => rm(run, { recursive: true, force: true }));

function write(from: number, to: number): void {
  using log = MetricsLog.open(run, { step: from });
  for (let step = from + 1; step <= to; step++) log.append({ step, loss: 1 / step });
}

test("MetricsLog cuts off what came after the resumed step, and a torn last line", async () => {
  write(0, 5);
  await appendFile(join(run, "metrics.jsonl"), '{"step":6,"lo');
  expect((await readMetrics(run)).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
  write(3, 4);
  expect((await readMetrics(run)).map(({ step }) => step)).toEqual([1, 2, 3, 4]);
  write(0, 1);
  expect(await readFile(join(run, "metrics.jsonl"), "utf8")).toBe('{"step":1,"loss":1}\n');
});

test("MetricsLog keeps several lines of one step and the names of numbers JSON does not have", async () => {
  {
    using log = MetricsLog.open(run, { step: 0 });
    log.append({ step: 1, loss: NaN, norms: [1, Infinity] });
    log.append({ step: 1, kind: "knn", top1: 0.3 });
  }
  write(1, 2);
  expect(await readMetrics(run)).toEqual([
    { step: 1, loss: "NaN", norms: [1, "Infinity"] },
    { step: 1, kind: "knn", top1: 0.3 },
    { step: 2, loss: 0.5 },
  ]);
});

test("readMetrics() of a run without metrics, or with rubbish between, gives what is there", async () => {
  expect(await readMetrics(run)).toEqual([]);
  await writeFile(join(run, "metrics.jsonl"), '{"step":1}\n\u0000\u0000\n{"step":2}\n');
  expect(await readMetrics(run)).toEqual([{ step: 1 }, { step: 2 }]);
});

test.skipIf(!existsSync("/dev/full"))("openTrainLog() on a full disk lets the run go on", async () => {
  await symlink("/dev/full", join(run, "train.log"));
  openTrainLog(run)("a line");
});

test("openTrainLog() appends lines with their time", async () => {
  const log = openTrainLog(run);
  log("first");
  log("second");
  expect(await readFile(join(run, "train.log"), "utf8")).toMatch(/^\d{4}-\d\d-\d\dT\S+Z first\n\S+ second\n$/);
});
