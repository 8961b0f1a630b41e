import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ConfigError, PlatformError } from "../core/index.ts";
import { readNpy, readSafetensors } from "../weights/index.ts";
import type { FeatureBatch } from "./extract.ts";
import { readJournal } from "./journal.ts";
import { PartialTable, type PartialTableOptions } from "./partial-table.ts";
import { readFeatureTable } from "./table.ts";
import { tableHeader } from "./table-header.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera partial "));
});
afterAll(() => rm(root, { recursive: true }));

const IMAGES = 11;
const OPTIONS: PartialTableOptions = {
  settings: { pool: "cls" },
  images: IMAGES,
  rowShape: [2],
  attentionShape: undefined,
  overwrite: false,
};

/** Images `from` to `from + 3`; every fifth is broken. */
function batchAt(from: number, attention: boolean): FeatureBatch {
  const to = Math.min(IMAGES, from + 3);
  const all = Array.from({ length: to - from }, (_, i) => from + i);
  const rows = all.filter((i) => i % 5 !== 1);
  const failed = all.filter((i) => i % 5 === 1).map((index) => ({ index, path: `p${index}`, reason: `broken ü\n${index}` }));
  return {
    from,
    to,
    rows,
    features: Float32Array.from(rows.flatMap((i) => [i, -i / 3])),
    attention: attention ? Float32Array.from(rows.flatMap((i) => [i, 1, 2, i / 7])) : undefined,
    failed,
  };
}

async function write(out: string, options: PartialTableOptions, { until = Infinity } = {}): Promise<readonly number[] | undefined> {
  await using table = await PartialTable.open(out, options);
  while (table.done < Math.min(until, IMAGES)) await table.append(batchAt(table.done, options.attentionShape !== undefined));
  if (table.done < IMAGES) return undefined;
  const failed = table.failed.map(({ index }) => index);
  const paths = Array.from({ length: IMAGES }, (_, i) => `p${i}`).filter((_, i) => !failed.includes(i));
  await table.finish({ shape: [table.rows, ...options.rowShape], paths, labels: undefined, about: {} });
  return failed;
}

test.each(["safetensors", "npy", "csv", "parquet"])(
  "PartialTable of .%s, cut anywhere, is gone on with to the same bytes; nothing stays beside it",
  async (format) => {
    const attentionShape = format === "safetensors" ? [2, 2] : undefined;
    const options = { ...OPTIONS, attentionShape };
    const whole = join(root, `whole.${format}`);
    expect(await write(whole, options)).toEqual([1, 6]);
    const wanted = await readFile(whole);
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(IMAGES), fc.record({ journal: share, data: share, attention: share }), async (until, cuts) => {
        const dir = join(root, `${format}-${runs++}`);
        const out = join(dir, `t.${format}`);
        await write(out, options, { until: Math.max(1, Math.min(until, IMAGES - 1)) });
        for (const [suffix, keep] of [
          ["partial.journal", cuts.journal],
          ["partial", cuts.data],
          ["partial.attention", cuts.attention],
        ] as const) {
          const file = `${out}.${suffix}`;
          const bytes = await readFile(file).catch(() => undefined);
          if (bytes !== undefined) await truncate(file, Math.ceil(bytes.length * Math.min(1, 2 * keep))); // half of them stay whole
        }
        expect(await write(out, options)).toEqual([1, 6]);
        expect(await readFile(out)).toEqual(wanted);
        expect((await readdir(dir)).sort()).toEqual([`t.${format}`, `t.${format}.json`]);
      }),
      { numRuns: 25 },
    );
    expect((await readFeatureTable(whole)).shape).toEqual([9, 2]);
  },
);

test("tableHeader() of fewer rows fills the room of more, and readers take it", async () => {
  for (const [name, shape] of [
    ["h.npy", { row: [3] }],
    ["h.safetensors", { row: [3] }],
    ["a.safetensors", { row: [3], attention: [2] }],
  ] as const) {
    const room = tableHeader(name, { rows: 123_456_789, ...shape }).length;
    expect(room % 8).toBe(0);
    const path = join(root, name);
    const header = tableHeader(name, { rows: 1, ...shape }, room);
    expect(header).toHaveLength(room);
    const body = Float32Array.of(1, 2, 3, ...("attention" in shape ? [4, 5] : []));
    await writeFile(path, Buffer.concat([header, new Uint8Array(body.buffer)]));
    if (name.endsWith(".npy")) expect(await readNpy(path)).toEqual({ dtype: "f32", shape: [1, 3], data: body });
    else expect((await readSafetensors(path)).tensors.get("features")?.data).toEqual(body.slice(0, 3));
    if ("attention" in shape) expect((await readSafetensors(path)).tensors.get("attention")?.data).toEqual(Float32Array.of(4, 5));
  }
  expect(tableHeader("t.csv", { rows: 1, row: [1] })).toHaveLength(0);
});

test("PartialTable refuses other settings, a table another process is writing; a damaged journal begins again", async () => {
  const out = join(root, "held.npy");
  await write(out, OPTIONS, { until: 3 });
  await expect(PartialTable.open(out, { ...OPTIONS, settings: { pool: "mean", normalize: true } })).rejects.toThrow(
    /pool was "cls", now "mean"; normalize was nothing, now true/,
  );
  await expect(PartialTable.open(out, { ...OPTIONS, settings: { pool: "mean" } })).rejects.toThrow(ConfigError);
  const journal = `${out}.partial.journal`;
  const [head = "", ...lines] = (await readFile(journal, "utf8")).split("\n");
  const parsed = JSON.parse(head) as { writer: object };
  const parent = {
    pid: process.ppid,
    host: hostname(),
    started: (await readFile(`/proc/${process.ppid}/stat`, "utf8").catch(() => "")).replace(/.*\) /s, "").split(" ")[19] ?? "",
  };
  await writeFile(journal, [JSON.stringify({ ...parsed, writer: parent }), ...lines].join("\n"));
  await expect(PartialTable.open(out, OPTIONS)).rejects.toThrow(PlatformError);
  await expect(readJournal(journal)).rejects.toThrow(new RegExp(`process ${process.ppid} is writing that table`));
  await writeFile(journal, [JSON.stringify({ ...parsed, writer: { ...parent, started: "1" } }), ...lines].join("\n"));
  expect((await readJournal(journal))?.states).toEqual([{ done: 3, rows: 2, failures: 1 }]); // that process is gone, its number taken
  await writeFile(journal, "{}\n");
  await using again = await PartialTable.open(out, OPTIONS);
  expect(again.done).toBe(0);
});

test("readJournal() trusts nothing behind a damaged line, and never throws for one", async () => {
  const file = join(root, "journal");
  const out = join(root, "journaled.npy");
  await write(out, OPTIONS, { until: 9 });
  const good = await readFile(`${out}.partial.journal`);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 3 }),
      fc.nat(good.length),
      async (edits, keep) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of edits) bytes[at] = value;
        await writeFile(file, bytes.subarray(0, keep));
        const journal = await readJournal(file);
        for (const { failures } of journal?.states ?? []) expect(failures).toBeLessThanOrEqual(journal?.failed.length ?? 0);
      },
    ),
    { numRuns: 200 },
  );
});
