/** @file `metrics.jsonl`: one line a step, cut back to the resumed step, never trusted beyond its last whole line. */
import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeError } from "./write-error.ts";

/** A line: `step` counts finished steps, the first step's line has 1. */
export interface MetricsLine {
  readonly step: number;
  readonly [name: string]: number | string | boolean | null | readonly number[];
}

/** JSON has no NaN: such numbers are written as their names, which a reader cannot take for a value. */
function toJson(line: MetricsLine): string {
  return JSON.stringify(line, (_, value: unknown) => (typeof value === "number" && !Number.isFinite(value) ? String(value) : value));
}

function stepOf(line: string): number | undefined {
  try {
    const value: unknown = JSON.parse(line);
    const step = typeof value === "object" && value !== null && "step" in value ? value.step : undefined;
    return typeof step === "number" ? step : undefined;
  } catch {
    return undefined;
  }
}

/** Bytes of `text`'s leading whole lines that belong to steps up to `step`. */
function bytesUpTo(data: Buffer, step: number): number {
  let end = 0;
  for (let at = data.indexOf(10); at >= 0; at = data.indexOf(10, at + 1)) {
    const lineStep = stepOf(data.toString("utf8", end, at));
    if (lineStep === undefined || lineStep > step) break;
    end = at + 1;
  }
  return end;
}

/** Appends to `metrics.jsonl`; every line is handed to the system before `append` returns. */
export class MetricsLog {
  readonly #fd: number;
  readonly #path: string;

  private constructor(fd: number, path: string) {
    this.#fd = fd;
    this.#path = path;
  }

  /** Opens the log of a run that stands at `step`: lines of later steps and a torn last line are cut off. */
  static open(runDir: string, options: { readonly step: number }): MetricsLog {
    const path = join(runDir, "metrics.jsonl");
    const keep = existsSync(path) ? bytesUpTo(readFileSync(path), options.step) : 0;
    const fd = openSync(path, "a");
    ftruncateSync(fd, keep);
    return new MetricsLog(fd, path);
  }

  append(line: MetricsLine): void {
    try {
      writeSync(this.#fd, `${toJson(line)}\n`);
    } catch (error) {
      throw writeError(`"${this.#path}"`, error);
    }
  }

  /** Makes the lines so far last through a power cut; call it before a checkpoint that counts on them. */
  sync(): void {
    fsyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The whole lines of a metrics file, for reports; a torn last line is left out. */
export async function readMetrics(runDir: string): Promise<readonly MetricsLine[]> {
  const text = await readFile(join(runDir, "metrics.jsonl"), "utf8").catch(() => "");
  const whole = text.slice(0, text.lastIndexOf("\n") + 1).split("\n");
  // a line with a numeric step is a MetricsLine: its other values are read with care by whoever draws them
  return whole.filter((line) => stepOf(line) !== undefined).map((line) => JSON.parse(line) as MetricsLine);
}
