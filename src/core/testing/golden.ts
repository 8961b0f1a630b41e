/**
 * @file Reads the reference numbers for the tests of every room, case by case: first from the full set, a folder `shared/golden` beside the
 * project, then from the project's own small set, `golden/`. `TRICERA_GOLDEN_DIR` names another folder for the full set; one that does not
 * exist leaves the project's own set alone: `TRICERA_GOLDEN_DIR=none npx vitest run`.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sizeOf, type DType, type HostTensor, type TypedArray } from "../dtype.ts";
import { InternalError } from "../errors.ts";

/** One reference case: its JSON and its tensors in file order. */
export interface GoldenCase {
  readonly json: Record<string, unknown>;
  readonly tensors: ReadonlyMap<string, HostTensor>;
}

export interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [from: number, to: number];
}

const OWN_DIR = fileURLToPath(new URL("../../../golden/", import.meta.url));
const SHARED_DIR = process.env["TRICERA_GOLDEN_DIR"] ?? fileURLToPath(new URL("../../../../shared/golden/", import.meta.url));

/** The first folder of reference numbers that is there. It may lack a case: ask `hasGolden(topic, name)` before you load one. */
export function goldenDir(): string | undefined {
  return [SHARED_DIR, OWN_DIR].find((dir) => existsSync(dir));
}

/** Path of a case without its suffix, or undefined when no set has it. */
export function goldenBase(topic: string, name: string): string | undefined {
  return [SHARED_DIR, OWN_DIR].map((dir) => join(dir, topic, name)).find((base) => existsSync(`${base}.json`));
}

/** Whether every one of these cases can be loaded; tests say `test.skipIf(!hasGolden("losses", "koleo"))`. */
export function hasGolden(topic: string, ...names: readonly string[]): boolean {
  return names.every((name) => goldenBase(topic, name) !== undefined);
}

/** Reads `<topic>/<name>.json` and, where there is one, its `.safetensors`. float16 becomes float32. */
export function loadGolden(topic: string, name: string): GoldenCase {
  const base = goldenBase(topic, name);
  if (base === undefined)
    throw new InternalError(`Cannot load golden "${topic}/${name}": no folder has it; guard the test with skipIf(!hasGolden(...))`);
  const json = JSON.parse(readFileSync(`${base}.json`, "utf8")) as Record<string, unknown>; // our own reference file
  const file = `${base}.safetensors`;
  return { json, tensors: existsSync(file) ? readTensors(readFileSync(file)) : new Map() };
}

/** The case's tensor, or an error that names it. */
export function goldenTensor(golden: GoldenCase, name: string): HostTensor {
  const tensor = golden.tensors.get(name);
  if (tensor === undefined)
    throw new InternalError(`Cannot find golden tensor "${name}": the case has ${[...golden.tensors.keys()].join(", ")}`);
  return tensor;
}

/** The tensors whose name starts with `prefix`, without it: `goldenPart(c, "w.")` are the weights. */
export function goldenPart(golden: GoldenCase, prefix: string): Map<string, HostTensor> {
  return new Map([...golden.tensors].filter(([k]) => k.startsWith(prefix)).map(([k, t]) => [k.slice(prefix.length), t]));
}

/** The `tolerance` of the case's JSON, or `fallback` where it has none. */
export function goldenTolerance(golden: GoldenCase, fallback: Tolerance = { atol: 2e-5, rtol: 2e-4 }): Tolerance {
  const t = golden.json["tolerance"] as Partial<Tolerance> | undefined; // our own reference file
  return { atol: t?.atol ?? fallback.atol, rtol: t?.rtol ?? fallback.rtol };
}

/** Throws unless `|actual - expected| <= atol + rtol * |expected|` everywhere; names the first and the worst value off. Shapes count where both have one. */
export function expectClose(
  actual: ArrayLike<number> | HostTensor,
  expected: ArrayLike<number> | HostTensor,
  options: Tolerance & { readonly what?: string },
): void {
  const { atol, rtol, what = "value" } = options;
  const [a, e] = [numbers(actual), numbers(expected)];
  if ("shape" in actual && "shape" in expected && actual.shape.join() !== expected.shape.join())
    throw new Error(`${what} has shape [${actual.shape.join()}], the reference [${expected.shape.join()}]`);
  if (a.length !== e.length) throw new Error(`${what} has ${a.length} values, the reference ${e.length}`);
  const { count, first, worst, most } = compareAll(a, e, { atol, rtol });
  if (count === 0) return;
  const show = (i: number): string => `[${i}] is ${Number(a[i])}, the reference has ${Number(e[i])}`;
  throw new Error(
    `${what}: ${count} of ${a.length} values are off (atol ${atol}, rtol ${rtol}); first ${show(first)}; worst ${show(worst)} (${most.toPrecision(3)} times the tolerance)`,
  );
}

/** How many values are off, the first and the worst of them, and how many times the tolerance that is. */
function compareAll(
  a: ArrayLike<number | bigint>,
  e: ArrayLike<number | bigint>,
  { atol, rtol }: Tolerance,
): { readonly count: number; readonly first: number; readonly worst: number; readonly most: number } {
  let [count, first, worst, most] = [0, -1, -1, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [Number(a[i]), Number(e[i])];
    if (x === y || Object.is(x, y)) continue;
    const over = Math.abs(x - y) / (atol + rtol * Math.abs(y));
    if (over <= 1) continue;
    count++;
    if (first < 0) first = i;
    if (worst < 0 || over > most) [worst, most] = [i, over];
  }
  return { count, first, worst, most };
}

function numbers(x: ArrayLike<number> | HostTensor): ArrayLike<number | bigint> {
  return "data" in x ? x.data : x;
}

function readTensors(bytes: Uint8Array): Map<string, HostTensor> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start))) as Record<string, Entry>; // our own reference file
  const entries = Object.entries(header).filter(([key]) => key !== "__metadata__");
  return new Map(
    entries.map(([key, e]) => [key, toTensor(e, Uint8Array.from(bytes.subarray(start + e.data_offsets[0], start + e.data_offsets[1])))]),
  );
}

const READERS: Readonly<Record<string, readonly [DType, (buffer: ArrayBuffer) => TypedArray]>> = {
  F32: ["f32", (b) => new Float32Array(b)],
  F64: ["f64", (b) => new Float64Array(b)],
  F16: ["f32", (b) => Float32Array.from(new Uint16Array(b), halfToFloat)],
  BF16: ["bf16", (b) => new Uint16Array(b)],
  I32: ["i32", (b) => new Int32Array(b)],
  I64: ["i64", (b) => new BigInt64Array(b)],
  U8: ["u8", (b) => new Uint8Array(b)],
  BOOL: ["bool", (b) => new Uint8Array(b)],
};

function toTensor(entry: Entry, bytes: Uint8Array<ArrayBuffer>): HostTensor {
  const reader = READERS[entry.dtype];
  if (reader === undefined) throw new InternalError(`Cannot read golden tensor: dtype ${entry.dtype} is not known`);
  const data = reader[1](bytes.buffer);
  if (data.length !== sizeOf(entry.shape))
    throw new InternalError(`Cannot read golden tensor: ${data.length} values for shape [${entry.shape.join()}]`);
  return { dtype: reader[0], shape: entry.shape, data };
}

function halfToFloat(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
