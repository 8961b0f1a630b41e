import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { checkDiskSpace, cleanLeftovers, recoverDir, replaceDirAtomic, writeFileAtomic } from "./atomic-file.ts";

const root = mkdtempSync(join(tmpdir(), "tricera-atomic "));
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

let count = 0;
function freshDir(): string {
  const dir = join(root, `case ${count++}`);
  mkdirSync(dir);
  return dir;
}

/** The id of a process that has ended. */
function deadPid(): number {
  return Number(execFileSync(process.execPath, ["-p", "process.pid"], { encoding: "utf8" }));
}

test("writeFileAtomic() writes text, bytes and pieces, makes the folder and leaves nothing beside it", async () => {
  const dir = freshDir();
  await writeFileAtomic(join(dir, "a", "text ü.txt"), "grüße");
  expect(readFileSync(join(dir, "a", "text ü.txt"), "utf8")).toBe("grüße");
  await writeFileAtomic(join(dir, "b"), Uint8Array.of(1, 2));
  await writeFileAtomic(join(dir, "b"), [Uint8Array.of(3), Uint8Array.of(), Uint8Array.of(4, 5)]);
  expect([...readFileSync(join(dir, "b"))]).toEqual([3, 4, 5]);
  expect(readdirSync(dir).sort()).toEqual(["a", "b"]);
});

test("writeFileAtomic() keeps the old file when the pieces fail", async () => {
  const path = join(freshDir(), "x");
  await writeFileAtomic(path, "old");
  function* failing(): Generator<Uint8Array> {
    yield Uint8Array.of(1);
    throw new Error("source broke");
  }
  await expect(writeFileAtomic(path, failing())).rejects.toThrow("source broke");
  expect(readFileSync(path, "utf8")).toBe("old");
  expect(readdirSync(join(path, ".."))).toEqual(["x"]);
});

test("writeFileAtomic() says what a full disk needs before it writes", async () => {
  const path = join(freshDir(), "x");
  await writeFileAtomic(path, "old");
  await expect(writeFileAtomic(path, [], { sizeBytes: 2 ** 60 })).rejects.toThrow(
    /Cannot write ".*x": the disk is full \(1152921504606847000 bytes needed, \d+ bytes free\)/,
  );
  await expect(checkDiskSpace(join(path, "no", "such"), 2 ** 60)).rejects.toThrow("the disk is full");
  expect(readFileSync(path, "utf8")).toBe("old");
});

test.skipIf(process.platform === "win32")(
  "writeFileAtomic() and replaceDirAtomic() leave the old one whole when the system refuses more bytes",
  () => {
    const dir = freshDir();
    const module = fileURLToPath(new URL("./atomic-file.ts", import.meta.url));
    const script = `
    const { writeFileAtomic, replaceDirAtomic } = await import(${JSON.stringify(module)});
    const { writeFile } = await import("node:fs/promises");
    const dir = ${JSON.stringify(dir)};
    await writeFileAtomic(dir + "/f", "old");
    await replaceDirAtomic(dir + "/d", (p) => writeFile(p + "/one", "old"));
    const say = (e) => console.log(e.name + " " + e.message);
    const big = new Uint8Array(1 << 20);
    await writeFileAtomic(dir + "/f", big).catch(say);
    await replaceDirAtomic(dir + "/d", (p) => writeFile(p + "/one", big)).catch(say);`;
    const out = execFileSync("sh", ["-c", `trap '' XFSZ; ulimit -f 64; exec "$0" --input-type=module -e "$1"`, process.execPath, script], {
      encoding: "utf8",
    });
    expect(out).toMatch(/^PlatformError Cannot write .*\/f": the disk is full \(1048576 bytes needed/m);
    expect(out).toMatch(/^PlatformError Cannot write .*\/d": the disk is full/m);
    expect(readFileSync(join(dir, "f"), "utf8")).toBe("old");
    expect(readFileSync(join(dir, "d", "one"), "utf8")).toBe("old");
    expect(readdirSync(dir).sort()).toEqual(["d", "f"]);
  },
);

test("replaceDirAtomic() replaces a whole folder and keeps the old one when writing fails", async () => {
  const dir = join(freshDir(), "ckpt");
  await replaceDirAtomic(dir, async (p) => {
    await writeFileAtomic(join(p, "sub", "a"), "1");
  });
  await replaceDirAtomic(dir, async (p) => {
    await writeFileAtomic(join(p, "b"), "2");
  });
  expect(readdirSync(dir)).toEqual(["b"]);
  await expect(replaceDirAtomic(dir, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(readdirSync(dir)).toEqual(["b"]);
  expect(readdirSync(join(dir, ".."))).toEqual(["ckpt"]);
});

test("cleanLeftovers() removes what dead processes left, and nothing of live ones", async () => {
  const dir = freshDir();
  const path = join(dir, "x");
  writeFileSync(path, "whole");
  const dead = deadPid();
  for (const name of [`x.partial-${dead}`, `x.partial-${process.ppid}`, `x.old-${dead}`, `x.partial-${process.pid}`, "x.partial-notes"])
    writeFileSync(join(dir, name), "");
  await cleanLeftovers(path);
  expect(readdirSync(dir).sort()).toEqual(["x", `x.partial-${process.ppid}`, "x.partial-notes"]);
});

test("recoverDir() puts back the old folder when a kill fell between the renames", async () => {
  const dir = freshDir();
  const dead = deadPid();
  mkdirSync(join(dir, `last.old-${dead}`));
  writeFileSync(join(dir, `last.old-${dead}`, "a"), "1");
  mkdirSync(join(dir, `last.partial-${dead}`));
  await recoverDir(join(dir, "last"));
  expect(readFileSync(join(dir, "last", "a"), "utf8")).toBe("1");
  await replaceDirAtomic(join(dir, "last"), async (p) => {
    await writeFileAtomic(join(p, "b"), "2");
  });
  expect(readdirSync(dir)).toEqual(["last"]);
});

test.skipIf(process.platform === "win32")("a process killed while it writes leaves the old file whole", () => {
  const dir = freshDir();
  writeFileSync(join(dir, "f"), "old");
  const module = fileURLToPath(new URL("./atomic-file.ts", import.meta.url));
  const script = `
    const { writeFileAtomic } = await import(${JSON.stringify(module)});
    function* pieces() { yield new Uint8Array(1000); process.kill(process.pid, "SIGKILL"); yield new Uint8Array(1000); }
    await writeFileAtomic(${JSON.stringify(join(dir, "f"))}, pieces());`;
  expect(() => execFileSync(process.execPath, ["--input-type=module", "-e", script], { stdio: "ignore" })).toThrow();
  expect(readFileSync(join(dir, "f"), "utf8")).toBe("old");
  expect(existsSync(join(dir, "f"))).toBe(true);
});

test("replaceDirAtomic() takes a path with a slash at its end", async () => {
  const dir = freshDir();
  for (const text of ["one", "two"])
    await replaceDirAtomic(`${join(dir, "made")}/`, (partial) => {
      writeFileSync(join(partial, "file"), text);
      return Promise.resolve();
    });
  expect([readdirSync(dir), readFileSync(join(dir, "made", "file"), "utf8")]).toEqual([["made"], "two"]);
});
