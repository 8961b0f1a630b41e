/** @file Where a command writes: results to stdout, everything for people to stderr. */

/** The two streams, as plain functions, so that tests and libraries can catch them. */
export interface Terminal {
  /** Results: stdout. */
  readonly out: (text: string) => void;
  /** Logs and progress: stderr. */
  readonly err: (text: string) => void;
  /** True when stderr is a screen that a bar can be drawn on. */
  readonly isScreen: boolean;
  readonly columns: number;
  /** Milliseconds, for rates. */
  readonly nowMs: () => number;
}

/** The terminal of this process. */
export function processTerminal(): Terminal {
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    isScreen: process.stderr.isTTY && process.env["TERM"] !== "dumb",
    columns: process.stderr.columns ?? 100,
    nowMs: () => performance.now(),
  };
}
