/** @file The hot loops over bytes in WebAssembly SIMD: both passes of PIL's resampling, and the taps of PIL's blur. Bit-equal to the plain loops. */
import { assembleModule, FunctionBuilder, type Local } from "../../core/wasm/index.ts";

/** Bytes of one turn of the loops over bytes. */
export const TURN_BYTES = 16;
const INT_BYTES = 4;

/** Sixteen bytes as four vectors of 32-bit lanes, from two of 16-bit lanes. */
function widen(f: FunctionBuilder, [low, high]: readonly [Local, Local]): Local[] {
  return [low, high].flatMap((x) => [f.compute("v128", "i32x4.extend_low_i16x8_u", x), f.compute("v128", "i32x4.extend_high_i16x8_u", x)]);
}

/** Sixteen bytes as two vectors of 16-bit lanes. */
function load16(f: FunctionBuilder, address: Local): [Local, Local] {
  return [f.load(address, 0, "v128.load8x8_u"), f.load(address, 8, "v128.load8x8_u")];
}

/** Four vectors of 32-bit lanes as sixteen bytes, each cut to 0..255. */
function narrow(f: FunctionBuilder, [a, b, c, d]: readonly Local[]): Local {
  if (a === undefined || b === undefined || c === undefined || d === undefined)
    throw new Error("Cannot narrow: four vectors are wanted; pass four");
  const [low, high] = [f.compute("v128", "i16x8.narrow_i32x4_s", a, b), f.compute("v128", "i16x8.narrow_i32x4_s", c, d)];
  return f.compute("v128", "i8x16.narrow_i16x8_u", low, high);
}

const times = (f: FunctionBuilder, a: Local, b: Local): Local => f.compute("v128", "i32x4.mul", a, b);
const plus = (f: FunctionBuilder, a: Local, b: Local): Local => f.compute("v128", "i32x4.add", a, b);

/** acc += x * w, in place. */
function accumulate(f: FunctionBuilder, acc: Local, { x, w }: { readonly x: Local; readonly w: Local }): void {
  f.push("i32x4.add", acc, times(f, x, w));
  f.set(acc);
}

/** The last whole turn may begin before the end of the one before: it makes the same bytes again. Calls `body` with every offset. */
function turns(f: FunctionBuilder, bytes: Local, body: (at: Local) => void): void {
  const last = f.compute("i32", "i32.sub", bytes, f.plus(f.local("i32"), TURN_BYTES));
  const at = f.local("i32");
  f.whileBelow(at, last, () => {
    body(at);
    f.advance(at, TURN_BYTES);
  });
  body(last);
}

/** `columns(from, rowBytes, taps, weights, to, bytes, half, bits)`: one output row, `to[x] = clamp((half + Σ_k from[k rowBytes + x] w[k]) >> bits)`; `bytes` ≥ 16. */
function columns(): FunctionBuilder {
  const f = new FunctionBuilder("columns");
  const [from, rowBytes, taps, weights, to, bytes, half, bits] = Array.from({ length: 8 }, () => f.param("i32")) as Locals8; // eight parameters
  const start = f.compute("v128", "i32x4.splat", half);
  f.get(taps);
  f.code.push(0x41, INT_BYTES);
  f.push("i32.mul");
  const weightEnd = f.local("i32");
  f.set(weightEnd);
  f.advance(weightEnd, weights);
  turns(f, bytes, (x) => {
    const acc = Array.from({ length: 4 }, () => f.variable(start));
    const p = f.compute("i32", "i32.add", from, x);
    const w = f.variable(weights);
    f.whileBelow(w, weightEnd, () => {
      const weight = f.load(w, 0, "v128.load32_splat");
      widen(f, load16(f, p)).forEach((v, i) => accumulate(f, acc[i] ?? v, { x: v, w: weight }));
      f.advance(p, rowBytes);
      f.advance(w, INT_BYTES);
    });
    const shifted = acc.map((a) => f.compute("v128", "i32x4.shr_s", a, bits));
    f.storeUnaligned(f.compute("i32", "i32.add", to, x), 0, narrow(f, shifted));
  });
  return f;
}

type Locals8 = [Local, Local, Local, Local, Local, Local, Local, Local];

/** Rows that one call of `across` makes, so that a weight is read once for all. */
export const ACROSS_ROWS = 4;

/**
 * `across(from, rowBytes, table, width, to, toRowBytes, half, bits)`: four rows of RGB pixels to `width` pixels each. `table` has for every output
 * pixel three integers: byte offset of its first source pixel, address of its weights, address behind them. Reads one byte beyond a pixel.
 */
function across(): FunctionBuilder {
  const f = new FunctionBuilder("across");
  const [from, rowBytes, table, width, to, toRowBytes, half, bits] = Array.from({ length: 8 }, () => f.param("i32")) as Locals8; // eight parameters
  const start = f.compute("v128", "i32x4.splat", half);
  f.get(width);
  f.code.push(0x41, 3 * INT_BYTES);
  f.push("i32.mul");
  const tableEnd = f.local("i32");
  f.set(tableEnd);
  f.advance(tableEnd, table);
  const entry = f.variable(table);
  const out = f.variable(to);
  f.whileBelow(entry, tableEnd, () => {
    const first = f.compute("i32", "i32.add", from, f.loadInt(entry, 0));
    const rows = [first];
    for (let r = 1; r < ACROSS_ROWS; r++) rows.push(f.compute("i32", "i32.add", rows[r - 1] ?? first, rowBytes));
    const acc = rows.map(() => f.variable(start));
    const w = f.loadInt(entry, INT_BYTES);
    const end = f.loadInt(entry, 2 * INT_BYTES);
    f.whileBelow(w, end, () => {
      const weight = f.load(w, 0, "v128.load32_splat");
      rows.forEach((row, r) => {
        const bytes = f.load(row, 0, "v128.load32_zero");
        const x = f.compute("v128", "i32x4.extend_low_i16x8_u", f.compute("v128", "i16x8.extend_low_i8x16_u", bytes));
        accumulate(f, acc[r] ?? x, { x, w: weight });
        f.advance(row, 3);
      });
      f.advance(w, INT_BYTES);
    });
    let target = out;
    acc.forEach((a, r) => {
      if (r > 0) target = f.compute("i32", "i32.add", target, toRowBytes);
      const shifted = f.compute("v128", "i32x4.shr_s", a, bits);
      const bytes = narrow(f, [shifted, shifted, shifted, shifted]);
      f.storeLane("v128.store16_lane", { address: target, offset: 0, value: bytes, lane: 0 });
      f.storeLane("v128.store8_lane", { address: target, offset: 2, value: bytes, lane: 2 });
    });
    f.advance(out, 3);
    f.advance(entry, 3 * INT_BYTES);
  });
  return f;
}

/**
 * `three(from, to, bytes, step, inner, outer, half)` and `five`: box filters of 24 fractional bits, every byte with those one (and two) steps away;
 * `bytes` ≥ 16.
 */
function box(name: "three" | "five"): FunctionBuilder {
  const f = new FunctionBuilder(name);
  const [from, to, bytes, step, inner, outer, half] = Array.from({ length: 7 }, () => f.param("i32")) as Locals7; // seven parameters
  const [wInner, wOuter, round] = [inner, outer, half].map((x) => f.compute("v128", "i32x4.splat", x)) as [Local, Local, Local]; // three
  const bits = f.plus(f.local("i32"), 24);
  const add16 = ([a, b]: readonly [Local, Local], [c, d]: readonly [Local, Local]): [Local, Local] => [
    f.compute("v128", "i16x8.add", a, c),
    f.compute("v128", "i16x8.add", b, d),
  ];
  turns(f, bytes, (at) => {
    const x = f.compute("i32", "i32.add", from, at);
    const [before, after] = [f.compute("i32", "i32.sub", x, step), f.compute("i32", "i32.add", x, step)];
    const next = add16(load16(f, before), load16(f, after));
    const far = (): [Local, Local] =>
      add16(load16(f, f.compute("i32", "i32.sub", before, step)), load16(f, f.compute("i32", "i32.add", after, step)));
    const near = name === "three" ? load16(f, x) : add16(load16(f, x), next);
    const [inside, ends] = [widen(f, near), widen(f, name === "three" ? next : far())];
    const sums = inside.map((v, i) => plus(f, plus(f, times(f, v, wInner), times(f, ends[i] ?? v, wOuter)), round));
    const shifted = sums.map((s) => f.compute("v128", "i32x4.shr_u", s, bits));
    f.storeUnaligned(f.compute("i32", "i32.add", to, at), 0, narrow(f, shifted));
  });
  return f;
}

type Locals7 = [Local, Local, Local, Local, Local, Local, Local];

/** The bytes of the module. */
export function imagesModule(): Uint8Array {
  return assembleModule([columns(), across(), box("three"), box("five")]);
}
