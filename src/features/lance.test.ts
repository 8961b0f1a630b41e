import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ConfigError, PlatformError } from "../core/index.ts";
import { embed } from "./embed.ts";
import { lanceName, loadLance, writeLance } from "./lance.ts";
import { piecesOf } from "./rows.ts";

const isThere = await loadLance().then(
  () => true,
  () => false,
);

test("loadLance() says what to install, and refuses a package that is another", async () => {
  await expect(loadLance("@lancedb/not-there")).rejects.toThrow(
    /is not installed; run `npm install @lancedb\/not-there`, or write \.parquet/,
  );
  await expect(loadLance("node:path")).rejects.toThrow(/it has no connect\(\)|has no connect\(\); install/);
  await expect(loadLance("node:path")).rejects.toThrow(PlatformError);
});

test.skipIf(isThere)("embed() to .lance without LanceDB is refused before anything is computed", async () => {
  await expect(embed({ model: "no model", data: "no data", out: join(tmpdir(), "never.lance") })).rejects.toThrow(
    /@lancedb\/lancedb is not installed/,
  );
});

test("lanceName() is the folder's name, of letters that LanceDB takes", () => {
  expect(lanceName("a b/photos-1.lance")).toBe("photos-1");
  for (const out of ["a/b c.lance", "ü.lance", ".lance/"]) expect(() => lanceName(out)).toThrow(ConfigError);
});

test.runIf(isThere)("writeLance() writes a folder that LanceDB opens, and nothing beside it", async () => {
  const root = await mkdtemp(join(tmpdir(), "tricera-lance-"));
  const features = Float32Array.from({ length: 9 }, (_, i) => i / 7);
  const source = { dim: 3, paths: ["a", "ü", "c"], labels: ["x", "", "y"], pieces: () => piecesOf(features, 3) };
  await writeLance(join(root, "t.lance"), source);
  expect(await readdir(root)).toEqual(["t.lance"]);
  const database = await (await loadLance()).connect(root);
  const table = await (database as unknown as { openTable(name: string): Promise<{ countRows(): Promise<number> }> }).openTable("t"); // its own interface is larger
  expect(await table.countRows()).toBe(3);
  await rm(root, { recursive: true });
});
