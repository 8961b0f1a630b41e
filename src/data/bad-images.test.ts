import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FormatError } from "../core/index.ts";
import { DINO_AUGMENT } from "../images/index.ts";
import { encodeJpeg, encodePng, openCropPool } from "../images/node/index.ts";
import { listData } from "./list.ts";
import { Loader } from "./loader.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera bad ü "));
});
afterAll(() => rm(root, { recursive: true }));

const picture = (side: number): { width: number; height: number; data: Uint8Array } => ({
  width: side,
  height: side,
  data: Uint8Array.from({ length: side * side * 3 }, (_, i) => (i * 31) & 255),
});

/** A PNG that claims 30,000 x 30,000 px in a few bytes. */
async function bomb(): Promise<Uint8Array> {
  const png = Buffer.from(await encodePng(picture(8)));
  png.writeUInt32BE(30_000, 16);
  png.writeUInt32BE(30_000, 20);
  png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
  return png;
}

/** File name, content (undefined: gone after listing), and the reason that is given; no reason: the picture is served. */
async function cases(): Promise<readonly (readonly [name: string, content: Uint8Array | undefined, reason?: RegExp])[]> {
  const [png, jpeg] = [await encodePng(picture(16)), await encodeJpeg(picture(64))];
  return [
    ["zero bytes.png", new Uint8Array(0), /the file is empty; copy it again or remove it/],
    ["truncated.jpg", jpeg.subarray(0, jpeg.length >> 1), /the data (ends early|is damaged)/],
    ["text.webp", Buffer.from("just text"), /its content is no JPEG, PNG, WebP/],
    ["bomb.png", await bomb(), /30000x30000 px are 900000000 pixels, the limit is/],
    ["gone since.png", undefined, /ENOENT.*; check that the file exists and may be read/],
    ["really a png.jpg", png],
    ["1x1.png", await encodePng(picture(1))],
    ["Bäume 木 😀 %20.png", png],
    ["good.png", png],
  ];
}

const CROPS = {
  globalSizePx: 4,
  localSizePx: 4,
  localCount: 1,
  globalScaleRange: [0.4, 1],
  localScaleRange: [0.1, 0.4],
  interpolation: "bicubic",
} as const;

test("Loader serves a folder with every kind of bad image: good ones in their places, each bad one named once with its reason", async () => {
  const all = await cases();
  for (const [name, content] of all) await writeFile(join(root, name), content ?? "soon gone");
  await symlink("loop.png", join(root, "loop.png"));
  const notices: string[] = [];
  const list = await listData(root, { onNotice: (line) => notices.push(line) });
  await rm(join(root, "gone since.png"));
  expect(notices).toEqual([expect.stringMatching(/Leaving out ".*loop\.png": its links lead in a circle/)]);
  expect(list.entries).toHaveLength(all.length);

  await using pool = openCropPool({ threads: 2, seed: 1, crops: CROPS, augment: DINO_AUGMENT, decode: "managed", alpha: "drop" });
  await using loader = new Loader({ list, pool, seed: 2, batchSize: 3, endStep: 6 });
  const served = new Set<string>();
  for (let step = 0; step < 6; step++) {
    const batch = await loader.next();
    expect(new Set(batch.sampleIds).size).toBe(3);
    expect([...batch.globals, ...batch.locals].every(Number.isFinite)).toBe(true);
    for (const id of batch.sampleIds) served.add(basename(list.entries[id]?.path ?? ""));
    loader.recycle(batch);
  }
  const isBad = all.filter(([, , reason]) => reason !== undefined);
  expect([...served].sort()).toEqual(all.flatMap(([name, , reason]) => (reason === undefined ? [name] : [])).sort());
  expect(loader.failed).toHaveLength(isBad.length);
  for (const [name, , reason] of isBad) {
    const failed = loader.failed.find((f) => basename(f.path) === name);
    expect(failed?.reason, name).toMatch(reason ?? /^$/);
    expect(failed?.reason, name).toContain(`"${join(root, name)}"`);
    expect(failed?.reason, name).toMatch(/^Cannot (read|decode) image ".*": .*; .*[^.]$/);
  }
});

test("Loader stops at the first bad image when none may be left out", async () => {
  const path = join(root, "only.png");
  await writeFile(path, "");
  const list = await listData(path);
  await using pool = openCropPool({ threads: 1, seed: 1, crops: CROPS, augment: DINO_AUGMENT, decode: "managed", alpha: "drop" });
  await using loader = new Loader({ list, pool, seed: 2, batchSize: 1, skipBroken: false });
  const error: unknown = await loader.next().catch((e: unknown) => e);
  expect(error).toBeInstanceOf(FormatError);
  expect(error).toMatchObject({ file: path });
});

// root may read everything: there the same is asked of a process without rights
test.skipIf(process.platform === "win32")(
  "an image without read permission is named when it is read, a folder when it is listed",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "tricera-locked-"));
    const path = join(folder, "locked.png");
    await chmod(folder, 0o755);
    await writeFile(path, await encodePng(picture(2)), { mode: 0o000 });
    const closed = join(folder, "closed");
    await mkdir(join(closed, "inner"), { recursive: true });
    await chmod(join(closed, "inner"), 0o000);
    const script = `
    const { listData, imageRef } = await import(${JSON.stringify(fileURLToPath(new URL("./index.ts", import.meta.url)))});
    const { loadImage } = await import(${JSON.stringify(fileURLToPath(new URL("../images/node/index.ts", import.meta.url)))});
    const list = await listData(${JSON.stringify(path)});
    await loadImage(imageRef(list, 0)).catch((e) => console.log(e.name, e.message));
    await listData(${JSON.stringify(closed)}).catch((e) => console.log(e.name, e.message));`;
    const who = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
    const said = execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8", ...who });
    await rm(folder, { recursive: true });
    expect(said).toMatch(/^FormatError Cannot read image ".*locked\.png": EACCES.*; check that the file exists and may be read/m);
    expect(said).toMatch(/^PlatformError Cannot read folder ".*inner": you have no right to read it; check --data/m);
  },
);
