import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { isStale, RunLock, thisHolder } from "./run-lock.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-lock-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function holdElsewhere(): Promise<{
  pid: number;
  end: (signal: NodeJS.Signals) => Promise<void>;
}> {
  const script = join(dir, "holder.ts");
  await writeFile(
    script,
    `import { RunLock } from ${JSON.stringify(new URL("./run-lock.ts", import.meta.url).href)};
     process.on("SIGTERM", () => process.exit(0));
     setInterval(() => undefined, 1000);
     await RunLock.acquire(${JSON.stringify(join(dir, "run"))});
     process.send?.("held");`,
  );
  const child = fork(script, { stdio: "ignore" });
  await once(child, "message");
  return {
    pid: child.pid ?? 0,
    end: async (signal) => {
      child.kill(signal);
      await once(child, "exit");
    },
  };
}

test("RunLock refuses a second run on one folder, in this process and in another", async () => {
  const run = join(dir, "run");
  await using _lock = await RunLock.acquire(run);
  await expect(RunLock.acquire(run)).rejects.toThrow(
    new RegExp(`process ${process.pid} is writing it; wait for it, stop it, or choose another --out`),
  );
  expect(await readdir(run)).toEqual(["run.lock"]);
});

test("RunLock is free again after release", async () => {
  const run = join(dir, "run");
  await (await RunLock.acquire(run)).release();
  expect(await readdir(run)).toEqual([]);
  await (await RunLock.acquire(run)).release();
});

test("RunLock of a living process holds; of a killed one it is taken over", async () => {
  const run = join(dir, "run");
  const other = await holdElsewhere();
  await expect(RunLock.acquire(run)).rejects.toThrow(`process ${other.pid} is writing it`);
  await other.end("SIGKILL");
  expect(await readdir(run)).toEqual(["run.lock"]);
  await using _lock = await RunLock.acquire(run);
  expect(JSON.parse(await readFile(join(run, "run.lock"), "utf8"))).toMatchObject({
    pid: process.pid,
  });
});

test("RunLock is released when its process exits", async () => {
  const other = await holdElsewhere();
  await other.end("SIGTERM");
  expect(await readdir(join(dir, "run"))).toEqual([]);
});

test("RunLock lets one of many takers win a stale lock", async () => {
  const run = join(dir, "run");
  const other = await holdElsewhere();
  await other.end("SIGKILL");
  const tries = await Promise.allSettled(Array.from({ length: 8 }, () => RunLock.acquire(run)));
  const won = tries.filter((t) => t.status === "fulfilled");
  expect(won.length).toBe(1);
  await won[0]?.value.release();
  expect(await readdir(run)).toEqual([]);
});

test("RunLock gets past a takeover that was killed, and clears what it left", async () => {
  const dead = { ...thisHolder(), pid: 2 ** 22 + 1 };
  const gate = { ...thisHolder(), pid: 2 ** 22 + 2 };
  await writeFile(join(dir, "run.lock"), JSON.stringify(dead));
  await writeFile(join(dir, `run.lock.takeover-${dead.id}`), JSON.stringify(gate));
  await writeFile(join(dir, `run.lock.takeover-${gate.id}`), JSON.stringify(gate));
  await using _lock = await RunLock.acquire(dir);
  expect(await readdir(dir)).toEqual(["run.lock"]);
});

test("RunLock of another machine, or one that cannot be read, is a person's to delete", async () => {
  await writeFile(join(dir, "run.lock"), JSON.stringify({ ...thisHolder(), host: "elsewhere" }));
  await expect(RunLock.acquire(dir)).rejects.toThrow(/on "elsewhere" is writing it; .* delete ".*run\.lock"/);
  await writeFile(join(dir, "run.lock"), "{");
  await expect(RunLock.acquire(dir)).rejects.toThrow(/its lock cannot be read; if no other run writes there, delete/);
});

test("isStale() knows a restarted machine and a reused process number", () => {
  const here = thisHolder();
  expect(isStale(here)).toBe(false);
  expect(isStale({ ...here, bootId: "before" })).toBe(true);
  expect(isStale({ ...here, pid: 2 ** 22 + 1 })).toBe(true);
  expect(isStale({ ...here, host: "elsewhere", bootId: "before" })).toBe(false);
  if (here.started !== "") expect(isStale({ ...here, started: "1" })).toBe(true);
});
