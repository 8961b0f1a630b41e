import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PlatformError } from "../../core/index.ts";
import { makeDirAtomic, removeDir, sweepAside } from "./atomic-dir.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-atomic-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test("makeDirAtomic() replaces a folder as a whole", async () => {
  const path = join(dir, "a");
  await makeDirAtomic(path, (to) => writeFile(join(to, "one"), "1"));
  await makeDirAtomic(path, (to) => writeFile(join(to, "two"), "2"));
  expect(await readdir(path)).toEqual(["two"]);
  expect(await readdir(dir)).toEqual(["a"]);
});

test("makeDirAtomic() that fails leaves what was there and nothing else", async () => {
  const path = join(dir, "a");
  await makeDirAtomic(path, (to) => writeFile(join(to, "one"), "1"));
  await expect(
    makeDirAtomic(path, async (to) => {
      await writeFile(join(to, "half"), "x");
      throw new Error("stop");
    }),
  ).rejects.toThrow("stop");
  expect(await readFile(join(path, "one"), "utf8")).toBe("1");
  expect(await readdir(dir)).toEqual(["a"]);
});

test.skipIf(!existsSync("/dev/full"))("makeDirAtomic() on a full disk says so and keeps what was there", async () => {
  const path = join(dir, "a");
  await makeDirAtomic(path, (to) => writeFile(join(to, "one"), "1"));
  const full = makeDirAtomic(path, () => writeFile("/dev/full", "x"));
  await expect(full).rejects.toThrow(/the disk is full; free some space and go on with --resume/);
  await expect(full).rejects.toBeInstanceOf(PlatformError);
  expect(await readdir(path)).toEqual(["one"]);
});

test("removeDir() and sweepAside() clear what is whole and what a killed process left", async () => {
  await mkdir(join(dir, ".writing-step-1-99"));
  await mkdir(join(dir, ".removing-step-1-99"));
  await mkdir(join(dir, "keep"));
  await sweepAside(dir);
  expect(await readdir(dir)).toEqual(["keep"]);
  await removeDir(join(dir, "keep"));
  await removeDir(join(dir, "none"));
  expect(await readdir(dir)).toEqual([]);
});
