import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigError, FormatError, PlatformError } from "../core/index.ts";
import { readImageBytes } from "../images/node/index.ts";
import { listData } from "./list.ts";
import { listTar } from "./tar.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera tar "));
});
afterAll(() => rm(root, { recursive: true }));

const pad = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)]);

interface Member {
  readonly name: string;
  readonly data: string;
  readonly kind?: string;
  readonly prefix?: string;
}

/** One member as ustar writes it. */
function member({ name, data, kind = "0", prefix = "" }: Member): Buffer {
  const block = Buffer.alloc(512);
  const body = Buffer.from(data);
  block.write(name, 0, 100);
  block.write(`${body.length.toString(8).padStart(11, "0")}\0`, 124);
  block.write("        ", 148);
  block.write(kind, 156);
  block.write("ustar\x0000", 257);
  block.write(prefix, 345);
  block.write(
    `${block
      .reduce((a, b) => a + b)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
  );
  return Buffer.concat([block, pad(body)]);
}

const tarOf = (...members: readonly Member[]): Buffer => Buffer.concat([...members.map(member), Buffer.alloc(1024)]);
/** A pax record states its own length. */
function pax(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  const digits = String(bytes + String(bytes).length).length;
  return `${bytes + digits}${rest}`;
}
async function put(name: string, bytes: Uint8Array): Promise<string> {
  const path = join(root, name);
  await writeFile(path, bytes);
  return path;
}

test("listTar() finds members by short, prefixed, pax and GNU long names, and their bytes are where it says", async () => {
  const long = `${"d".repeat(120)}/ü.png`;
  const path = await put(
    "names ü.tar",
    tarOf(
      { name: "b/", data: "", kind: "5" },
      { name: "b/2.png", data: "two" },
      { name: "1.jpg", data: "one", prefix: "a/deep" },
      { name: "note.txt", data: "x".repeat(600) },
      { name: "pax", data: pax("mtime", "1") + pax("path", long), kind: "x" },
      { name: "short", data: "three" },
      { name: "././@LongLink", data: `${"e".repeat(130)}/4.png\0`, kind: "L" },
      { name: "short", data: "four" },
      { name: "global", data: pax("comment", "c"), kind: "g" },
      { name: "link.png", data: "", kind: "2" },
      { name: "b/._2.png", data: "x" },
    ),
  );
  const { entries, classes } = await listData(path);
  expect(entries.map((e) => e.member)).toEqual(["a/deep/1.jpg", "b/2.png", long, `${"e".repeat(130)}/4.png`]);
  const read = await Promise.all(entries.map(async (e) => Buffer.from(await readImageBytes(e)).toString()));
  expect(read).toEqual(["one", "two", "three", "four"]);
  expect(classes).toHaveLength(4);
});

test("listTar() keeps a pax size over a long name that follows it", async () => {
  const broken = member({ name: "x.png", data: "abc" });
  broken.write("00000000000\0", 124);
  const sum = (): number => broken.subarray(0, 512).reduce((a, b, i) => a + (i >= 148 && i < 156 ? 32 : b), 0);
  broken.write(`${sum().toString(8).padStart(6, "0")}\0 `, 148);
  const path = await put(
    "size.tar",
    Buffer.concat([
      member({ name: "p", data: pax("size", "3"), kind: "x" }),
      member({ name: "L", data: "long.png\0", kind: "L" }),
      broken,
      Buffer.alloc(1024),
    ]),
  );
  expect(await listTar(path)).toMatchObject([{ member: "long.png", bytes: 3 }]);
});

test("listData() joins several tar files", async () => {
  const one = await put("s-0.tar", tarOf({ name: "b.png", data: "1" }));
  const two = await put("s-1.tar", tarOf({ name: "a.png", data: "22" }));
  expect((await listData(join(root, "s-*.tar"))).entries.map((e) => [e.path, e.member, e.offset, e.bytes])).toEqual([
    [one, "b.png", 512, 1],
    [two, "a.png", 512, 2],
  ]);
});

test("listData() takes a range of shards, wants each of them, and offers the nearest name for one that is not there", async () => {
  for (const n of ["008", "009", "010"]) await put(`shard-${n}.tar`, tarOf({ name: "a.png", data: n }));
  const { entries } = await listData(join(root, "shard-{008..010}.tar"));
  expect(entries.map((e) => e.path)).toEqual(["008", "009", "010"].map((n) => join(root, `shard-${n}.tar`)));
  await expect(listData(join(root, "shard-{008..012}.tar"))).rejects.toThrow(
    /Cannot read ".*shard-011\.tar": it does not exist; did you mean "shard-010\.tar"\?/,
  );
  await expect(listData(join(root, "shard-{0..99999999}.tar"))).rejects.toThrow(ConfigError);
});

test("listData() labels webdataset samples by their .cls, and leaves other members out", async () => {
  const sample = (key: string, cls: string): Member[] => [
    { name: `${key}.cls`, data: `${cls}\n` },
    { name: `${key}.jpg`, data: key },
    { name: `${key}.json`, data: "{}" },
  ];
  await put("w-0.tar", tarOf(...sample("x/0001", "7"), ...sample("x/0002", "9")));
  await put("w-1.tar", tarOf(...sample("y/0003.v2", "7")));
  const { entries, classes } = await listData(join(root, "w-{0..1}.tar"));
  expect(classes).toEqual(["7", "9"]);
  expect(entries.map((e) => [e.member, e.label])).toEqual([
    ["x/0001.jpg", "7"],
    ["x/0002.jpg", "9"],
    ["y/0003.v2.jpg", "7"],
  ]);
  expect((await listData(join(root, "w-{0..1}.tar"), { labels: "none" })).classes).toEqual([]);
});

test("listData() takes classes from the first folder below what all members share, over all shards together", async () => {
  await put("c-0.tar", tarOf({ name: "./set/cat/1.png", data: "1" }, { name: "./set/cat/deep/2.png", data: "2" }));
  await put("c-1.tar", tarOf({ name: "./set/dog/3.png", data: "3" }));
  expect((await listData(join(root, "c-*.tar"))).entries.map((e) => e.label)).toEqual(["cat", "cat", "dog"]);
  expect((await listData(`${join(root, "c-0.tar")},${join(root, "c-1.tar")}`)).classes).toEqual(["cat", "dog"]);
  expect((await listData(join(root, "c-1.tar"))).classes).toEqual([]);
});

test("listTar() reads pax values with line ends, and sizes in base 256", async () => {
  const big = member({ name: "x", data: "abcd" });
  big.fill(0, 124, 136);
  big[124] = 0x80;
  big[135] = 4;
  const sum = big.subarray(0, 512).reduce((a, b, i) => a + (i >= 148 && i < 156 ? 32 : b), 0);
  big.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  const path = await put(
    "pax.tar",
    Buffer.concat([member({ name: "p", data: pax("comment", "a\n20 path=no.png") + pax("path", "two\nlines.png"), kind: "x" }), big]),
  );
  expect(await listTar(path)).toMatchObject([{ member: "two\nlines.png", bytes: 4 }]);
  await expect(listTar(join(root, "absent.tar"))).rejects.toThrow(PlatformError);
});

const good = tarOf({ name: "a.png", data: "x".repeat(700) }, { name: "b.png", data: "y" });

test.each([
  ["a cut header", good.subarray(0, 1536 + 100), /the file ends inside a block at byte 1536/],
  ["a cut member", good.subarray(0, 1000), /a member of 700 bytes is cut off at byte 0/],
  ["garbage after a member", Buffer.concat([good.subarray(0, 1536), Buffer.alloc(512, 65)]), /there is no valid header at byte 1536/],
  ["a compressed tar", Buffer.concat([Buffer.of(0x1f, 0x8b), Buffer.alloc(600, 7)]), /gzip data starts at byte 0; decompress it first/],
  [
    "a hostile pax size",
    tarOf({ name: "p", data: pax("size", "-512"), kind: "x" }, { name: "a.png", data: "z" }),
    /a member has no valid size at byte 1024/,
  ],
  ["no image", tarOf({ name: "a.txt", data: "z" }), /Cannot find images in/],
  ["an empty file", Buffer.alloc(0), /Cannot find images in/],
])("listData() refuses a tar with %s", async (what, bytes, message) => {
  const path = await put(`${what}.tar`, bytes);
  await expect(listData(path)).rejects.toThrow(message);
  await expect(listData(path)).rejects.toThrow(FormatError);
});

test("listTar() gives members inside the file or a FormatError, whatever the bytes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }),
      fc.nat(good.length),
      async (edits, keep) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of edits) bytes[at] = value;
        const path = await put("mutated.tar", bytes.subarray(0, keep));
        const entries = await listTar(path).catch((error: unknown) => {
          expect(error).toBeInstanceOf(FormatError);
          return [];
        });
        for (const { offset = -1, bytes: n } of entries) expect(offset >= 512 && n >= 0 && offset + n <= keep).toBe(true);
      },
    ),
    { numRuns: 150 },
  );
});
