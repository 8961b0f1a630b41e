import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError, FormatError, PlatformError } from "../core/index.ts";
import { type DataList, entryName, makeList } from "./entry.ts";
import { holdOut } from "./hold-out.ts";
import { listData } from "./list.ts";
import { manifestRows } from "./manifest.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera data "));
});
afterAll(() => rm(root, { recursive: true }));

async function put(...names: readonly string[]): Promise<void> {
  for (const name of names) {
    const path = join(root, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, name);
  }
}
const namesOf = (list: DataList): string[] => list.entries.map((e) => relative(root, entryName(e)));

describe("listData() of a folder", () => {
  test("finds images of every kind in every sub folder, sorted by UTF-8 bytes, and leaves others out", async () => {
    const images = [
      "B.JPG",
      "a b/z.png",
      "a b/ü 1.jpeg",
      "c.webp",
      "d.gif",
      "e.avif",
      "f.tif",
      "g.tiff",
      "h.svg",
      "\u{1F600}.png",
      "\uFF21.png",
    ];
    await put(...images.map((n) => `kinds/${n}`), "kinds/notes.txt", "kinds/._B.JPG", "kinds/.hidden/x.png");
    const list = await listData(join(root, "kinds"));
    // U+FF21 is before U+1F600 in bytes, behind it in UTF-16
    expect(namesOf(list)).toEqual([...images.slice(0, 9), "\uFF21.png", "\u{1F600}.png"].map((n) => `kinds/${n}`));
    expect(list.classes).toEqual([]);
    expect(list.entries[0]).toMatchObject({ bytes: "kinds/B.JPG".length, path: join(root, "kinds/B.JPG") });
  });

  test("takes first-level folders for classes when there are two and no image lies beside them", async () => {
    await put(
      "classes/cat/1.png",
      "classes/cat/deep/2.png",
      "classes/dog/3.png",
      "one/cat/1.png",
      "mixed/cat/1.png",
      "mixed/dog/2.png",
      "mixed/3.png",
    );
    const list = await listData(join(root, "classes"));
    expect(list.classes).toEqual(["cat", "dog"]);
    expect(list.entries.map((e) => e.label)).toEqual(["cat", "cat", "dog"]);
    expect((await listData(join(root, "one"))).classes).toEqual([]);
    expect((await listData(join(root, "mixed"))).classes).toEqual([]);
  });

  test("follows links, ends at loops and says so, and passes over dead links", async () => {
    await put("links/a/1.png", "elsewhere/2.png");
    await symlink("..", join(root, "links/a/up"));
    await symlink(join(root, "elsewhere"), join(root, "links/b"));
    await symlink("me.png", join(root, "links/me.png"));
    await symlink("nowhere.png", join(root, "links/dead.png"));
    const notices: string[] = [];
    const list = await listData(join(root, "links"), { onNotice: (line) => notices.push(line) });
    expect(namesOf(list)).toEqual(["links/a/1.png", "links/b/2.png"]);
    expect(notices.sort()).toEqual([
      expect.stringMatching(/a\/up": its link leads back to a folder above it/),
      expect.stringMatching(/dead\.png": it does not exist/),
      expect.stringMatching(/me\.png": its links lead in a circle/),
    ]);
  });

  test("refuses an empty folder, one without images, and one that is not there", async () => {
    await mkdir(join(root, "empty"));
    await put("texts/a.txt", "texts/b.txt", "texts/c.csv");
    await expect(listData(join(root, "empty"))).rejects.toThrow(/Cannot find images in ".*empty": it is empty; put files/);
    await expect(listData(join(root, "empty"))).rejects.toThrow(FormatError);
    await expect(listData(join(root, "texts"))).rejects.toThrow(/it has 2 × \.txt, 1 × \.csv and no image/);
    await expect(listData(join(root, "absent"))).rejects.toThrow(PlatformError);
    await expect(listData(join(root, "absent"))).rejects.toThrow(/Cannot read ".*absent": it does not exist/);
    await expect(listData(join(root, "text"))).rejects.toThrow(/it does not exist; did you mean "texts"\?/);
    await expect(listData(" ")).rejects.toThrow(ConfigError);
    await expect(listData(",")).rejects.toThrow(FormatError);
    await expect(listData(join(root, "texts/a.txt"))).rejects.toThrow(/1 of 1 images are not there/);
  });

  test("stops when it is aborted", async () => {
    await put("stop/a.png");
    await expect(listData(join(root, "stop"), { signal: AbortSignal.abort() })).rejects.toThrow("aborted");
  });
});

describe("listData() with labels", () => {
  test("takes them from a file whose paths are relative to it, or takes none", async () => {
    await put("labels/one/1.png", "labels/two/2.png");
    const file = join(root, "labels/classes ü.csv");
    await writeFile(file, "path,label\none/1.png,b\n./two/2.png,a\n");
    const list = await listData(join(root, "labels"), { labels: file });
    expect(list.entries.map((e) => e.label)).toEqual(["b", "a"]);
    expect(list.classes).toEqual(["a", "b"]);
    expect((await listData(join(root, "labels"), { labels: "none" })).classes).toEqual([]);
    expect((await listData(file, { labels: "none" })).entries).toHaveLength(2);
    await writeFile(file, "one/1.png,b\ntwo/2.png\n");
    await expect(listData(join(root, "labels"), { labels: file })).rejects.toThrow(
      /Cannot label 1 of 2 images by ".*classes ü\.csv": it has no label for ".*2\.png"/,
    );
    await expect(listData(join(root, "labels"), { labels: join(root, "gone.csv") })).rejects.toThrow(
      /Cannot read labels .* does not exist/,
    );
  });
});

describe("listData() of other things", () => {
  test("takes one image, a glob with commas in braces, and several specs between commas", async () => {
    await put("glob/x 1.png", "glob/ü2.jpg", "glob/c.txt", "more/4.png");
    expect(namesOf(await listData(join(root, "more/4.png")))).toEqual(["more/4.png"]);
    expect(namesOf(await listData(join(root, "glob/*")))).toEqual(["glob/x 1.png", "glob/ü2.jpg"]);
    expect(namesOf(await listData(join(root, "{glob,more}/*.{png,jpg}")))).toEqual(["glob/x 1.png", "glob/ü2.jpg", "more/4.png"]);
    expect(namesOf(await listData(`${join(root, "more")}, ${join(root, "glob")}`))).toEqual(["glob/x 1.png", "glob/ü2.jpg", "more/4.png"]);
    await expect(listData(join(root, "glob/*.bmp"))).rejects.toThrow(/Cannot find images by ".*bmp": no image or tar file matches/);
    await put("strange.xyz");
    await expect(listData(join(root, "strange.xyz"))).rejects.toThrow(/as data: it is no folder, tar file, manifest/);
  });

  test("takes a folder whose name holds a comma or a bracket as it is", async () => {
    await put("a,b [1]/1.png");
    expect(namesOf(await listData(join(root, "a,b [1]")))).toEqual(["a,b [1]/1.png"]);
  });

  test("reads manifests: paths relative to them, labels, quotes, blank lines, a byte order mark", async () => {
    await put("m/a, b.png", "m/sub/ü.png");
    const write = (name: string, content: string): Promise<void> => writeFile(join(root, "m", name), content);
    await write("l.txt", "\uFEFFsub/ü.png\r\n\r\na, b.png\n");
    await write("l.csv", 'path,label\n"a, b.png","x ""y"""\nsub/ü.png,z\n');
    await write("l.tsv", "a, b.png\tone\nsub/ü.png\n");
    await write("l.jsonl", `{"path":"a, b.png","label":3}\n{"path":"${join(root, "m/sub/ü.png")}"}\n`);
    const read = async (name: string): Promise<unknown> => {
      const { entries } = await listData(join(root, "m", name));
      return entries.map((e) => [relative(root, e.path), e.label]);
    };
    expect(await read("l.txt")).toEqual([
      ["m/a, b.png", undefined],
      ["m/sub/ü.png", undefined],
    ]);
    expect(await read("l.csv")).toEqual([
      ["m/a, b.png", 'x "y"'],
      ["m/sub/ü.png", "z"],
    ]);
    expect(await read("l.tsv")).toEqual([
      ["m/a, b.png", "one"],
      ["m/sub/ü.png", undefined],
    ]);
    expect(await read("l.jsonl")).toEqual([
      ["m/a, b.png", "3"],
      ["m/sub/ü.png", undefined],
    ]);
  });

  test.each([
    ["empty.txt", "\n", /it names no image/],
    ["bad.jsonl", '{"path":"a.png"}\n{"file":1}\n', /line 2 is no JSON object with a "path"/],
    ["bad2.jsonl", "nonsense\n", /line 1 is no JSON object/],
    ["bad.csv", "path,label\n,cat\n", /line 2 is a row without a path/],
    ["gone.txt", "1.png\n2.png\n3.png\n4.png\n", /4 of 4 images are not there \("1\.png", "2\.png", "3\.png", \.\.\.\)/],
  ])("refuses manifest %s", async (name, content, message) => {
    await writeFile(join(root, name), content);
    await expect(listData(join(root, name))).rejects.toThrow(message);
    await expect(listData(join(root, name))).rejects.toThrow(FormatError);
  });
});

test("manifestRows() gives rows with a path or a FormatError, whatever the text", () => {
  const piece = fc.constantFrom(
    "a.png",
    ",",
    "\t",
    '"',
    '""',
    "\n",
    "\r\n",
    '{"path":"a"}',
    '{"path":1}',
    "path,label",
    " ",
    "\uFEFF",
    "ü",
  );
  const text = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((parts) => parts.join("")),
    fc.string({ unit: "binary" }),
  );
  fc.assert(
    fc.property(text, fc.constantFrom("txt", "csv", "tsv", "jsonl"), (content, suffix) => {
      let rows: ReturnType<typeof manifestRows> = [];
      try {
        rows = manifestRows(content, `m.${suffix}`);
        expect(rows.length).toBeGreaterThan(0);
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
      }
      for (const { image, label } of rows)
        expect([image.length > 0, label === undefined || label.length > 0 || suffix === "jsonl"]).toEqual([true, true]);
    }),
    { numRuns: 200 },
  );
});

test("holdOut() gives every fifth image of each class, two of five for 2.5, and refuses to hold out all", () => {
  const list = makeList(
    Array.from({ length: 20 }, (_, i) => ({
      path: `/${String(i).padStart(2, "0")}`,
      bytes: 1,
      mtimeMs: 0,
      label: i % 2 === 0 ? "a" : "b",
    })),
  );
  const { train, test: held } = holdOut(list);
  expect(held.entries.map((e) => e.path)).toEqual(["/08", "/09", "/18", "/19"]);
  expect(train.entries).toHaveLength(16);
  expect(held.classes).toEqual(["a", "b"]);
  expect(holdOut(list, 2.5).test.entries).toHaveLength(8);
  for (const every of [0, 1, -2, NaN, Infinity]) expect(() => holdOut(list, every)).toThrow(ConfigError);
});
