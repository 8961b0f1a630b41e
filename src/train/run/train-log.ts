/** @file `train.log`: what the terminal showed, with the time of each line. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";

/** A writer of `train.log`: appends lines, each at once, so that a killed run has all of them. A log that cannot be written never stops a run. */
export function openTrainLog(runDir: string): (line: string) => void {
  const path = join(runDir, "train.log");
  return (line) => {
    try {
      appendFileSync(path, `${new Date().toISOString()} ${line}\n`);
    } catch {
      // the same line is on the terminal
    }
  };
}
