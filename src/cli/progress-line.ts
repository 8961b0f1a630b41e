/** @file Progress for people: a bar with rate and time left on a screen, a line every few seconds elsewhere. */
import type { OnProgress, Progress } from "../core/index.ts";
import type { Terminal } from "./terminal.ts";

const SCREEN_EVERY_MS = 100;
const LINES_EVERY_MS = 5000;
const BAR_CELLS = 24;
/** The rate is that of the last half minute, so that the time left follows the machine. */
const RATE_WINDOW_MS = 30_000;

/** `1 h 04 min`, `3 min 20 s`, `12 s`. */
export function formatSeconds(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
}

function formatRate(rate: number, unit: string): string {
  if (rate > 0 && rate < 0.5) return `${formatSeconds(1 / rate)} a ${unit.replace(/s$/, "")}`;
  return `${rate >= 100 ? Math.round(rate).toLocaleString("en-US") : rate.toFixed(1)} ${unit}/s`;
}

export interface Pace {
  readonly perSecond: number;
  readonly secondsLeft: number | undefined;
}

/** One line of progress, without a line end. */
export function formatProgress(progress: Progress, pace: Pace | undefined, options: { readonly bar: boolean }): string {
  const { what, done, total, unit, detail } = progress;
  const part = total > 0 ? Math.min(1, done / total) : 0;
  const full = Math.round(part * BAR_CELLS);
  const bar =
    options.bar && total > 0 ? ` ${"█".repeat(full)}${"░".repeat(BAR_CELLS - full)} ${String(Math.floor(100 * part)).padStart(3)} %` : "";
  const counted =
    total > 0 ? `${done.toLocaleString("en-US")}/${total.toLocaleString("en-US")} ${unit}` : `${done.toLocaleString("en-US")} ${unit}`;
  const rate = pace === undefined ? [] : [formatRate(pace.perSecond, unit)];
  const left = pace?.secondsLeft === undefined ? [] : [`${formatSeconds(pace.secondsLeft)} left`];
  return `${what}${bar}  ${[counted, ...rate, ...left, ...(detail === undefined ? [] : [detail])].join(" · ")}`;
}

/** Draws progress events on a terminal. `done()` leaves the last state on a line of its own; `note()` writes a line above the bar. */
export class ProgressLine {
  readonly #terminal: Terminal;
  #marks: { readonly ms: number; readonly done: number }[] = [];
  #what = "";
  #shownMs = -Infinity;
  #latest: Progress | undefined;
  #drawn = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  readonly onProgress: OnProgress = (progress) => {
    const now = this.#terminal.nowMs();
    if (progress.what !== this.#what) this.#begin(progress.what, now);
    this.#latest = progress;
    this.#mark(progress.done, now);
    const every = this.#terminal.isScreen ? SCREEN_EVERY_MS : LINES_EVERY_MS;
    const finished = progress.total > 0 && progress.done >= progress.total;
    if (now - this.#shownMs >= every || finished) this.#show(now);
  };

  /** Writes a line for people without breaking the bar. */
  note(line: string): void {
    this.#wipe();
    this.#terminal.err(`${line}\n`);
    this.#shownMs = -Infinity;
  }

  /** Ends the bar's line. */
  done(): void {
    if (this.#latest !== undefined && this.#terminal.isScreen) this.#show(this.#terminal.nowMs());
    if (this.#drawn) this.#terminal.err("\n");
    this.#drawn = false;
    this.#latest = undefined;
  }

  #begin(what: string, now: number): void {
    this.done();
    this.#what = what;
    this.#marks = [];
    this.#shownMs = this.#terminal.isScreen ? -Infinity : now - LINES_EVERY_MS;
  }

  #mark(done: number, now: number): void {
    this.#marks.push({ ms: now, done });
    while (this.#marks.length > 2 && now - (this.#marks[1]?.ms ?? now) > RATE_WINDOW_MS) this.#marks.shift();
    // a window of many quick events is thinned, so that memory stays small
    if (this.#marks.length > 600) this.#marks = this.#marks.filter((_, i) => i % 2 === 0 || i === this.#marks.length - 1);
  }

  #pace(): Pace | undefined {
    const [first, last] = [this.#marks[0], this.#marks.at(-1)];
    if (first === undefined || last === undefined || last.ms <= first.ms || last.done <= first.done) return undefined;
    const perSecond = (1000 * (last.done - first.done)) / (last.ms - first.ms);
    const total = this.#latest?.total ?? 0;
    return {
      perSecond,
      secondsLeft: total > last.done ? (total - last.done) / perSecond : undefined,
    };
  }

  #show(now: number): void {
    if (this.#latest === undefined) return;
    const line = formatProgress(this.#latest, this.#pace(), { bar: this.#terminal.isScreen });
    this.#shownMs = now;
    if (!this.#terminal.isScreen) {
      this.#terminal.err(`${line}\n`);
      return;
    }
    this.#terminal.err(`\r${line.slice(0, this.#terminal.columns - 1)}\x1b[K`);
    this.#drawn = true;
  }

  #wipe(): void {
    if (this.#drawn) this.#terminal.err("\r\x1b[K");
    this.#drawn = false;
  }
}
