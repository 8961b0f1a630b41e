/** @file For tests: a command line run in this process, and what it printed. */
import { main } from "../main.ts";

export interface CliRun {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** Both, in the order they were printed. */
  readonly all: string;
}

/** Runs `tricera ...argv`, as on no screen of 80 columns. */
export async function runCli(argv: readonly string[]): Promise<CliRun> {
  const [out, err, all]: [string[], string[], string[]] = [[], [], []];
  const terminal = {
    out: (text: string) => void (out.push(text), all.push(text)),
    err: (text: string) => void (err.push(text), all.push(text)),
    isScreen: false,
    columns: 80,
    nowMs: () => performance.now(),
  };
  const code = await main(argv, { terminal });
  return { code, out: out.join(""), err: err.join(""), all: all.join("") };
}
