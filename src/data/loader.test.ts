import { mkdir, mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError, FormatError, Rng } from "../core/index.ts";
import { DINO_AUGMENT } from "../images/index.ts";
import { type CropPool, encodePng, openCropPool } from "../images/node/index.ts";
import { type DataList, makeList } from "./entry.ts";
import { compareLists, describeChanges, digestList, freezeList, readFrozenList } from "./frozen-list.ts";
import { listData } from "./list.ts";
import { Loader, type LoaderOptions } from "./loader.ts";

let root = "";
let pool: CropPool;
/** Ten images, of which 3 and 7 are broken in `broken`. */
let whole: DataList;
let broken: DataList;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera loader "));
  const image = { width: 8, height: 8 };
  const rng = new Rng(3);
  for (let i = 0; i < 10; i++) {
    const data = Uint8Array.from({ length: 192 }, () => rng.int(256));
    await writeFile(join(root, `${i}.png`), await encodePng({ ...image, data }));
  }
  await writeFile(join(root, "broken.png"), "no picture");
  await writeFile(join(root, "shard.tar"), "no picture at all");
  const at = (name: string): DataList["entries"][number] => ({ path: join(root, name), bytes: 1, mtimeMs: 0 });
  whole = makeList(Array.from({ length: 10 }, (_, i) => at(`${i}.png`)));
  const bad = [at("broken.png"), { ...at("shard.tar"), member: "x.png", offset: 2, bytes: 4 }];
  broken = { ...whole, entries: whole.entries.map((e, i) => (i === 3 ? bad[0]! : i === 7 ? bad[1]! : e)) }; // two elements
  const crops = {
    globalSizePx: 4,
    localSizePx: 4,
    localCount: 0,
    globalScaleRange: [0.4, 1],
    localScaleRange: [0.1, 0.4],
    interpolation: "bicubic",
  } as const;
  pool = openCropPool({ threads: 1, seed: 1, crops, augment: DINO_AUGMENT, decode: "managed", alpha: "drop" });
});
afterAll(async () => {
  await pool[Symbol.asyncDispose]();
  await rm(root, { recursive: true });
});

const open = (options: Partial<LoaderOptions> = {}): Loader => new Loader({ list: whole, pool, seed: 5, batchSize: 3, ...options });
async function idsOf(loader: Loader, steps: number): Promise<number[][]> {
  const ids: number[][] = [];
  for (let i = 0; i < steps; i++) {
    const batch = await loader.next();
    ids.push([...batch.sampleIds]);
    loader.recycle(batch);
  }
  return ids;
}

describe("Loader", () => {
  test("serves each epoch's permutation and leaves out what fills no batch", async () => {
    await using loader = open();
    expect(loader.stepsPerEpoch).toBe(3);
    const ids = await idsOf(loader, 7);
    for (const epoch of [0, 1]) {
      const order = new Rng(5).split(`order/${epoch}`).permutation(10);
      expect(ids.slice(3 * epoch, 3 * epoch + 3).flat()).toEqual([...order].slice(0, 9));
    }
    expect(loader.epochOf(6)).toBe(2);
    expect(loader.waitedMs).toBeGreaterThan(0);
  });

  test("goes on exactly where an earlier run stopped, whatever it makes ahead", async () => {
    await using first = open({ list: broken });
    const ids = await idsOf(first, 8);
    for (const startStep of [2, 3, 5]) {
      await using later = open({ list: broken, startStep, ahead: startStep });
      expect(await idsOf(later, 8 - startStep)).toEqual(ids.slice(startStep));
    }
  });

  test("puts the next images of the order in the places of broken ones, no image twice in a batch", async () => {
    const told: string[] = [];
    await using loader = open({ list: broken, onFailed: ({ path }) => told.push(path) });
    const ids = await idsOf(loader, 6);
    for (const [step, batch] of ids.entries()) {
      expect(new Set(batch).size).toBe(3);
      expect(batch).not.toContain(3);
      expect(batch).not.toContain(7);
      const drawn = [...loader.samplesOf(step)];
      for (const [i, id] of drawn.entries()) if (id !== 3 && id !== 7) expect(batch[i]).toBe(id);
    }
    expect(told.sort()).toEqual([join(root, "broken.png"), `${join(root, "shard.tar")}!x.png`]);
    expect(loader.failed.map((f) => f.reason).sort()).toEqual([
      expect.stringContaining(`"${join(root, "broken.png")}"`),
      expect.stringContaining("shard.tar!x.png"),
    ]);
  });

  test("repeats good images of a batch that is the whole set, and gives up when all are broken", async () => {
    const few = (ids: readonly number[]): DataList => ({ entries: ids.map((i) => broken.entries[i]!), classes: [] }); // below 10
    await using loader = open({ list: few([3, 0, 7]) });
    expect(await idsOf(loader, 1)).toEqual([[1, 1, 1]]);
    await using lost = open({ list: few([3, 7, 3]) });
    await expect(lost.next()).rejects.toThrow(FormatError);
    await expect(lost.next()).rejects.toThrow(/of 3 too few can be read; see the first/);
  });

  test("stops at a broken image when none may be skipped, and after the last step", async () => {
    await using strict = open({ list: broken, skipBroken: false });
    await expect(idsOf(strict, 3)).rejects.toThrow(FormatError);
    await using short = open({ startStep: 1, endStep: 2 });
    await idsOf(short, 1);
    await expect(short.next()).rejects.toThrow("the run's last step is done");
  });

  test("refuses a batch larger than the data, and no batch at all", () => {
    expect(() => open({ batchSize: 11 })).toThrow(ConfigError);
    expect(() => open({ batchSize: 11 })).toThrow(/batches of 11: there are 10 images; .* 10 or less/);
    for (const batchSize of [0, 1.5]) expect(() => open({ batchSize })).toThrow(/no whole number of at least 1/);
  });
});

describe("frozen lists", () => {
  const list = makeList([
    { path: "/ü b/1.png", bytes: 10, mtimeMs: 5, label: "x" },
    { path: "/t.tar", member: "m.png", offset: 512, bytes: 3, mtimeMs: 6 },
  ]);

  test("readFrozenList() gives what freezeList() wrote, and nothing else is left in the folder", async () => {
    const dir = join(root, "run");
    await freezeList(dir, list);
    expect(await readFrozenList(dir)).toEqual(list);
    expect(digestList(await readFrozenList(dir))).toBe(digestList(list));
    expect(await readdir(dir)).toEqual(["data.jsonl"]);
    await truncate(join(dir, "data.jsonl"), 100);
    await expect(readFrozenList(dir)).rejects.toThrow(/line 2 is damaged/);
    await expect(readFrozenList(join(root, "absent"))).rejects.toThrow(FormatError);
  });

  test("readFrozenList() gives whole entries or a FormatError, whatever became of the file", async () => {
    const dir = join(root, "damaged run");
    await freezeList(dir, list);
    const good = await readFile(join(dir, "data.jsonl"));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 3 }),
        fc.nat(good.length),
        async (edits, keep) => {
          const bytes = Buffer.from(good);
          for (const [at, value] of edits) bytes[at] = value;
          await writeFile(join(dir, "data.jsonl"), bytes.subarray(0, keep));
          const read = await readFrozenList(dir).catch((error: unknown) => {
            expect(error).toBeInstanceOf(FormatError);
          });
          for (const { path, bytes: size, mtimeMs } of read?.entries ?? [])
            expect([path.length > 0, size >= 0, Number.isFinite(mtimeMs)]).toEqual([true, true, true]);
          // a list that lost its end is not taken for a shorter one, unless the cut lies at the end of a line
          if (edits.length === 0 && keep < good.length && read !== undefined) expect(keep).toBe(good.indexOf(0x0a) + 1);
        },
      ),
      { numRuns: 150, examples: Array.from({ length: good.length }, (_, keep): [[number, number][], number] => [[], keep]) },
    );
  });

  test("compareLists() tells what happened to a folder since the run began", async () => {
    const [data, run] = [join(root, "since"), join(root, "since run")];
    await mkdir(data);
    for (const name of ["a ü.png", "b.png", "c.png", "d.png"]) await writeFile(join(data, name), name);
    const before = await listData(data);
    await freezeList(run, before);
    expect(describeChanges(compareLists(await readFrozenList(run), await listData(data)))).toBeUndefined();
    await writeFile(join(data, "a ü.png"), "longer than before");
    await utimes(join(data, "b.png"), 1, 1); // the same size
    await rm(join(data, "c.png"));
    await writeFile(join(data, "new.png"), "new");
    const now = await listData(data);
    expect(compareLists(await readFrozenList(run), now)).toEqual({
      added: [join(data, "new.png")],
      changed: [join(data, "a ü.png"), join(data, "b.png")],
      gone: [join(data, "c.png")],
    });
    expect(digestList(now)).not.toBe(digestList(before));
    expect(digestList(await readFrozenList(run))).toBe(digestList(before));
  });

  test("compareLists() tells added, changed and gone images", () => {
    const [tar, file] = list.entries;
    const now = makeList([
      { ...file!, bytes: 11 },
      { path: "/new.png", bytes: 1, mtimeMs: 0 },
    ]); // two entries above
    expect(compareLists(list, list)).toEqual({ added: [], changed: [], gone: [] });
    expect(describeChanges(compareLists(list, list))).toBeUndefined();
    expect(compareLists(list, now)).toEqual({ added: ["/new.png"], changed: ["/ü b/1.png"], gone: [`${tar!.path}!m.png`] }); // two entries above
    expect(describeChanges(compareLists(list, now))).toBe("1 added (/new.png), 1 changed (/ü b/1.png), 1 gone (/t.tar!m.png)");
  });
});
