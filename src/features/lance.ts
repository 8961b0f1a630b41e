/** @file Feature tables as a LanceDB folder: rows of `path`, `label`, `vector`. LanceDB is an optional peer, loaded when such a table is named. */
import { mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ConfigError, PlatformError } from "../core/index.ts";
import type { RowSource } from "./rows.ts";

interface Row {
  readonly path: string;
  readonly label: string;
  readonly vector: readonly number[];
  readonly [column: string]: unknown;
}

/** The part of `@lancedb/lancedb` that is used. */
interface LanceTable {
  add(rows: readonly Row[]): Promise<unknown>;
  close(): void;
}
interface LanceConnection {
  createTable(name: string, rows: readonly Row[]): Promise<LanceTable>;
  close(): void;
}
interface LanceModule {
  connect(folder: string): Promise<LanceConnection>;
}

const PACKAGE = "@lancedb/lancedb";

function isLance(module: unknown): module is LanceModule {
  return typeof module === "object" && module !== null && "connect" in module && typeof module.connect === "function";
}

/** Loads LanceDB. Throws PlatformError that says what to install. */
export async function loadLance(name: string = PACKAGE): Promise<LanceModule> {
  let module: unknown;
  try {
    module = await import(name);
  } catch (cause) {
    throw new PlatformError(`Cannot write a .lance table: ${name} is not installed; run \`npm install ${name}\`, or write .parquet`, {
      cause,
    });
  }
  if (isLance(module)) return module;
  throw new PlatformError(`Cannot write a .lance table: ${name} has no connect(); install a version from 0.20`);
}

/** The name of the table in a folder `NAME.lance`. Throws ConfigError for what LanceDB does not take. */
export function lanceName(out: string): string {
  const name = basename(out, ".lance");
  if (/^\w[\w.-]*$/.test(name)) return name;
  throw new ConfigError(`Cannot write "${out}": LanceDB's names have letters, digits, _, - and . only; give another --out`, {
    keyPath: "out",
  });
}

/** Writes the folder aside, then renames it: `open_table(NAME)` of a database at its parent finds it. Throws PlatformError. */
export async function writeLance(out: string, { dim, paths, labels, pieces }: RowSource): Promise<void> {
  const name = lanceName(out);
  const lance = await loadLance();
  const aside = `${out}.partial-${process.pid}`;
  await rm(aside, { recursive: true, force: true });
  await mkdir(aside, { recursive: true });
  try {
    const database = await lance.connect(aside);
    let table: LanceTable | undefined;
    let from = 0;
    for await (const piece of pieces()) {
      const rows = Array.from({ length: piece.length / dim }, (_, i) => ({
        path: paths[from + i] ?? "",
        label: labels?.[from + i] ?? "",
        vector: Array.from(piece.subarray(i * dim, (i + 1) * dim)),
      }));
      if (table === undefined) table = await database.createTable(name, rows);
      else await table.add(rows);
      from += rows.length;
    }
    table?.close();
    database.close();
    await mkdir(dirname(out), { recursive: true });
    await rename(join(aside, `${name}.lance`), out);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}
