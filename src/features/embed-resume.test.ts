import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError } from "../core/index.ts";
import { embed, type EmbedOptions } from "./embed.ts";
import { readFeatureTable } from "./table.ts";
import { randomWeights, TINY, writePicture, writeTinyModel } from "./testing/tiny-model.ts";

let root = "";
let model = "";
let data = "";

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera embed resume "));
  [model, data] = [join(root, "model"), join(root, "pictures")];
  await writeTinyModel(model);
  for (const [i, name] of ["blue/1.png", "blue/2.png", "red/3.png", "red/4.png", "red/5.png"].entries())
    await writePicture(join(data, name), { colour: i < 2 ? [10, 20, 200] : [200, 30, 10], seed: i });
});
afterAll(() => rm(root, { recursive: true, force: true }));

const out = (name: string): string => join(root, "out", name);
const run = (name: string, more: Partial<EmbedOptions> = {}): ReturnType<typeof embed> =>
  embed({ model, data, out: out(name), threads: 1, batchSize: 2, ...more });
const made = async (name: string): Promise<string[]> => (await readdir(join(root, "out"))).filter((n) => n.startsWith(name)).sort();

describe("embed() that stops on the way", () => {
  /** Embeds in a process that kills itself when `done` images are written. */
  async function killedAfter(done: number, options: EmbedOptions): Promise<NodeJS.Signals | null> {
    const script = join(root, "killed.mjs");
    await writeFile(
      script,
      `import { embed } from ${JSON.stringify(new URL("embed.ts", import.meta.url).href)};
      const onProgress = ({ done }) => void (done >= ${done} && process.kill(process.pid, "SIGKILL"));
      await embed({ ...${JSON.stringify(options)}, onProgress });`,
    );
    const child = spawn(process.execPath, [script], { stdio: "ignore" });
    return new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)));
  }

  test.each([
    ["k.safetensors", { pool: "patch", attention: true }],
    ["k.parquet", { pool: "gem", normalize: true, layers: [-1, 0] }],
  ] as const)("by a kill: %s is gone on with, and its bytes are those of a run without", async (name, more) => {
    await run(`whole-${name}`, more);
    const options = { model, data, out: out(name), threads: 1, batchSize: 2, ...more };
    expect(await killedAfter(2, options)).toBe("SIGKILL");
    expect(await made(name)).toContain(`${name}.partial.journal`);
    const notices: string[] = [];
    const seen: number[] = [];
    await run(name, { ...more, onNotice: (line) => notices.push(line), onProgress: ({ done }) => seen.push(done) });
    expect(notices).toEqual([expect.stringMatching(/^Goes on with ".*\.partial": 2 of 5 images are embedded$/)]);
    expect(seen).toEqual([4, 5]);
    expect(await readFile(out(name))).toEqual(await readFile(out(`whole-${name}`)));
    expect(await readFile(out(`${name}.json`))).toEqual(await readFile(out(`whole-${name}.json`)));
    expect(await made(name)).toEqual([name, `${name}.json`]);
  });

  test("by an abort: it keeps what is done and says so; before the first batch it leaves nothing", async () => {
    const stop = new AbortController();
    const notices: string[] = [];
    const onProgress = (): void => stop.abort();
    await expect(run("a.npy", { signal: stop.signal, onProgress, onNotice: (line) => notices.push(line) })).rejects.toThrow(/abort/i);
    expect(notices).toEqual([expect.stringMatching(/^Kept in ".*a\.npy\.partial": 2 of 5 images; the same command goes on from there$/)]);
    expect(await made("a.npy")).toEqual(["a.npy.partial", "a.npy.partial.journal"]);
    await expect(run("b.npy", { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expect(await made("b.npy")).toEqual([]);
  });

  test("with other settings or images it is refused, naming what differs; --overwrite begins again", async () => {
    const refused = (more: Partial<EmbedOptions>): Promise<unknown> => expect(run("a.npy", more)).rejects.toThrow(ConfigError);
    await expect(run("a.npy", { pool: "mean", batchSize: 3 })).rejects.toThrow(
      /Cannot go on with ".*a\.npy\.partial": pool was "cls", now "mean"; batchSize was 2, now 3; give the settings of before, --overwrite/,
    );
    await refused({ imageSizePx: 24 });
    await refused({ layers: [0] });
    await refused({ normalize: true });
    await refused({ resize: "pad" });
    await expect(run("a.npy", { data: join(data, "blue") })).rejects.toThrow(/the images are others/);
    const other = join(root, "other model");
    await writeTinyModel(other, { weights: randomWeights(TINY, 77) });
    await expect(run("a.npy", { model: other })).rejects.toThrow(/the weights are others/);
    const notices: string[] = [];
    await run("a.npy", { pool: "mean", overwrite: true, onNotice: (line) => notices.push(line) });
    expect(notices).toEqual([expect.stringMatching(/^Begins again: /)]);
    await run("mean.npy", { pool: "mean" });
    expect(await readFile(out("a.npy"))).toEqual(await readFile(out("mean.npy")));
    expect(await made("a.npy")).toEqual(["a.npy", "a.npy.json"]);
  });

  test("at a broken picture it goes on when such may be left out, and lists all of them", async () => {
    const late = join(root, "late");
    for (const [i, name] of ["1.png", "2.png", "3.png", "5.png"].entries())
      await writePicture(join(late, name), { colour: [9, 200, 9], seed: i });
    await writeFile(join(late, "0.png"), "none");
    await writeFile(join(late, "4.png"), "none");
    await expect(run("late.npy", { data: late, skipBroken: true, signal: AbortSignal.timeout(1), batchSize: 2 })).rejects.toThrow();
    const stop = new AbortController();
    await expect(run("late.npy", { data: late, skipBroken: true, signal: stop.signal, onProgress: () => stop.abort() })).rejects.toThrow(
      /abort/i,
    );
    await expect(run("late.npy", { data: late })).rejects.toThrow(/Cannot decode image ".*4\.png"/);
    const result = await run("late.npy", { data: late, skipBroken: true });
    expect(result).toMatchObject({ images: 4, failedImages: 2 });
    const listed = (await readFile(out("late.npy.failed.jsonl"), "utf8")).trimEnd().split("\n");
    expect(listed.map((line) => (JSON.parse(line) as { path: string }).path)).toEqual([join(late, "0.png"), join(late, "4.png")]);
    expect((await readFeatureTable(out("late.npy"))).paths).toEqual(["1", "2", "3", "5"].map((n) => join(late, `${n}.png`)));
  });
});
