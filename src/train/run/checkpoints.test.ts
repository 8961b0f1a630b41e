import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type NewCheckpoint, readCheckpointState } from "./checkpoint-state.ts";
import {
  assertDiskRoom,
  checkpointDir,
  findLatestCheckpoint,
  listCheckpoints,
  milestoneDir,
  pruneCheckpoints,
  rewindCheckpoints,
  writeCheckpoint,
  writeMilestone,
} from "./checkpoints.ts";

let run = "";
beforeEach(async () => {
  run = await mkdtemp(join(tmpdir(), "tricera-run-"));
});
afterEach(() => rm(run, { recursive: true, force: true }));

const at = (step: number): NewCheckpoint => ({
  step,
  epoch: 0,
  sampleCursor: step * 8,
  seed: 0,
  threads: 2,
  runtime: "test",
  dataDigest: "d",
});
const save = (step: number): Promise<string> =>
  writeCheckpoint(run, at(step), (dir) => writeFile(join(dir, "student.safetensors"), `weights of ${step}`));

async function latest(): Promise<{ step: number | undefined; notices: string[] }> {
  const notices: string[] = [];
  const found = await findLatestCheckpoint(run, { onNotice: (line) => notices.push(line) });
  return { step: found?.state.step, notices };
}

test("writeCheckpoint() is found again with its state and its sums", async () => {
  const dir = await save(1000);
  expect(dir).toBe(join(run, "checkpoints", "step-00001000"));
  const state = await readCheckpointState(dir);
  expect(state).toMatchObject({ ...at(1000), formatVersion: 1 });
  expect(state.files["student.safetensors"]?.bytes).toBe("weights of 1000".length);
  expect(await latest()).toEqual({ step: 1000, notices: [] });
});

test("findLatestCheckpoint() is undefined where there is none", async () => {
  expect(await latest()).toEqual({ step: undefined, notices: [] });
});

const DAMAGE: readonly (readonly [string, (dir: string) => Promise<void>, RegExp])[] = [
  ["truncated", (dir) => truncate(join(dir, "student.safetensors"), 3), /student\.safetensors has 3 of 12 bytes/],
  ["changed", (dir) => writeFile(join(dir, "student.safetensors"), "weights of X"), /student\.safetensors was changed/],
  ["gone", (dir) => rm(join(dir, "student.safetensors")), /student\.safetensors is missing/],
  ["without state", (dir) => rm(join(dir, "state.json")), /state\.json is missing/],
  ["with half a state", (dir) => truncate(join(dir, "state.json"), 20), /state\.json is not JSON/],
  ["with a strange state", (dir) => writeFile(join(dir, "state.json"), '{"formatVersion":1,"step":"x"}'), /wrong step/],
  ["of a later format", (dir) => writeFile(join(dir, "state.json"), '{"formatVersion":99}'), /format 99 is newer than 1; install a newer/],
];
test.each(DAMAGE)("findLatestCheckpoint() passes over a checkpoint %s and says why", async (_, damage, why) => {
  await save(1);
  await damage(await save(2));
  const { step, notices } = await latest();
  expect(step).toBe(1);
  expect(notices.join()).toMatch(why);
});

test("readCheckpointState() never reads files outside its folder", async () => {
  const dir = await save(1);
  const file = join(dir, "state.json");
  const text = (await readFile(file, "utf8")).replace("student.safetensors", "../../student.safetensors");
  await writeFile(file, text);
  await expect(readCheckpointState(dir)).rejects.toThrow(/wrong files/);
});

test("pruneCheckpoints() keeps the newest and every milestone", async () => {
  for (const step of [5, 10, 15, 20]) await save(step);
  await writeMilestone(run, { share: 0.1, state: at(10) }, (dir) => writeFile(join(dir, "teacher.safetensors"), "t"));
  await pruneCheckpoints(run, 2);
  expect(await listCheckpoints(run)).toEqual([20, 15]);
  expect((await readCheckpointState(milestoneDir(run, 0.1))).step).toBe(10);
});

test("findLatestCheckpoint() puts back a folder whose replacement never arrived", async () => {
  const dir = await save(1);
  await rename(dir, `${dir}.old-${2 ** 22 + 1}`);
  expect((await latest()).step).toBe(1);
  expect(await readdir(join(run, "checkpoints"))).toEqual(["step-00000001"]);
});

test("rewindCheckpoints() clears the way for going on from a step", async () => {
  for (const step of [1, 2, 3]) await save(step);
  await rewindCheckpoints(run, 2);
  expect(await listCheckpoints(run)).toEqual([2, 1]);
});

test.skipIf(!existsSync("/dev/full"))("writeCheckpoint() on a full disk leaves the previous checkpoint", async () => {
  await save(1);
  await expect(writeCheckpoint(run, at(2), () => writeFile("/dev/full", "x"))).rejects.toThrow(/disk is full/);
  expect((await latest()).step).toBe(1);
  expect(await readdir(join(run, "checkpoints"))).toEqual(["step-00000001"]);
});

test("assertDiskRoom() refuses what cannot fit", async () => {
  await assertDiskRoom(run, 1);
  await expect(assertDiskRoom(run, 2 ** 60)).rejects.toThrow(/disk of .* has .* GB free; free some space/);
});

test("writeCheckpoint() killed at any moment leaves only whole checkpoints", async () => {
  const script = join(run, "writer.ts");
  const module = new URL("./checkpoints.ts", import.meta.url).href;
  await writeFile(
    script,
    `import { writeCheckpoint } from ${JSON.stringify(module)};
     import { writeFile } from "node:fs/promises";
     for (let step = 1; ; step++) {
       await writeCheckpoint(${JSON.stringify(run)}, { step, epoch: 0, sampleCursor: 0, seed: 0, threads: 1, runtime: "", dataDigest: "" }, (dir) => writeFile(dir + "/student.safetensors", Buffer.alloc(1 << 20, step)));
       process.send?.(step);
     }`,
  );
  for (const pauseMs of [0, 3, 7]) {
    const child = fork(script, { stdio: "ignore" });
    await once(child, "message");
    await sleep(pauseMs);
    child.kill("SIGKILL");
    await once(child, "exit");
    for (const step of await listCheckpoints(run)) expect((await readCheckpointState(checkpointDir(run, step))).step).toBe(step);
    const { step, notices } = await latest();
    expect(step).toBeGreaterThanOrEqual(1);
    expect(notices).toEqual([]);
    await rewindCheckpoints(run, step ?? 0);
    expect((await readdir(join(run, "checkpoints"))).filter((name) => !/^step-\d+$/.test(name))).toEqual([]);
  }
});
