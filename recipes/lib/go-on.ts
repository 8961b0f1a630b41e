/** @file Runs of a recipe that is started as often as one likes: what is there is not made again, what was cut off goes on. */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ProgressLine } from "../../src/cli/progress-line.ts";
import type { Terminal } from "../../src/cli/terminal.ts";
import { train, type TrainResult, type UserConfig } from "../../src/train/index.ts";

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/** The scores that the recipe wrote so far. */
export async function readScores<T>(file: string): Promise<T[]> {
  return (await exists(file)) ? (JSON.parse(await readFile(file, "utf8")) as T[]) : []; // the recipe wrote it
}

/** Makes a run, or goes on with the one in `out`. */
export async function trainOrGoOn(
  title: string,
  { out, config, terminal }: { readonly out: string; readonly config: UserConfig; readonly terminal: Terminal },
): Promise<TrainResult> {
  const progress = new ProgressLine(terminal);
  progress.note(title);
  const options = { out, onNotice: (line: string) => progress.note(line), onProgress: progress.onProgress };
  const result = await ((await exists(join(out, "config.json"))) ? train({ ...options, resume: true }) : train({ ...options, config }));
  progress.done();
  return result;
}
