/** @file A tiny WebAssembly assembler: functions over one imported shared memory, as the bytes of a module. */

export type ValueType = "i32" | "f32" | "f64" | "v128";

const TYPE_CODES: { readonly [K in ValueType]: number } = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b };
const SECTION = { type: 1, import: 2, function: 3, export: 7, code: 10 } as const;
/** "\0asm", version 1. */
const MAGIC = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0] as const;
const MAX_PAGES = 65_536;

/** Unsigned LEB128, the format of every integer in a module. */
export function leb(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 0x80);
  }
}

/** Signed LEB128 of a small non-negative constant: one more zero bit than the unsigned form. */
function signedLeb(value: number): number[] {
  const bytes = leb(value);
  const last = bytes.at(-1) ?? 0;
  return last < 64 ? bytes : [...bytes.slice(0, -1), last | 0x80, 0];
}

const simd = (code: number): readonly number[] => [0xfd, ...leb(code)];

export type PlainOp =
  | `i32.${"add" | "sub" | "mul" | "lt_u" | "ge_u"}`
  | `i16x8.${"add" | "narrow_i32x4_s" | "extend_low_i8x16_u"}`
  | "i8x16.narrow_i16x8_u"
  | `i32x4.${"splat" | "add" | "mul" | "shr_s" | "shr_u" | "extend_low_i16x8_u" | "extend_high_i16x8_u"}`
  | "f64.add"
  | "f32x4.splat"
  | `f32x4.${"add" | "sub" | "mul" | "div" | "sqrt"}`
  | "f64x2.add"
  | "f64x2.mul"
  | "f64x2.promote_low_f32x4";

/** Instructions without immediates, by their names in the specification. */
const PLAIN: { readonly [K in PlainOp]: readonly number[] } = {
  "i32.add": [0x6a],
  "i32.sub": [0x6b],
  "i32.mul": [0x6c],
  "i32.lt_u": [0x49],
  "i32.ge_u": [0x4f],
  "i16x8.add": simd(0x8e),
  "i16x8.narrow_i32x4_s": simd(0x85),
  "i16x8.extend_low_i8x16_u": simd(0x89),
  "i8x16.narrow_i16x8_u": simd(0x66),
  "i32x4.splat": simd(0x11),
  "i32x4.add": simd(0xae),
  "i32x4.mul": simd(0xb5),
  "i32x4.shr_s": simd(0xac),
  "i32x4.shr_u": simd(0xad),
  "i32x4.extend_low_i16x8_u": simd(0xa9),
  "i32x4.extend_high_i16x8_u": simd(0xaa),
  "f64.add": [0xa0],
  "f32x4.splat": simd(0x13),
  "f32x4.add": simd(0xe4),
  "f32x4.sub": simd(0xe5),
  "f32x4.mul": simd(0xe6),
  "f32x4.div": simd(0xe7),
  "f32x4.sqrt": simd(0xe3),
  "f64x2.add": simd(0xf0),
  "f64x2.mul": simd(0xf2),
  "f64x2.promote_low_f32x4": simd(0x5f),
};

/**
 * `v128.load` reads 16 bytes, `load64_zero` and `load32_zero` 8 and 4 into the low lanes, `load32_splat` 4 into every lane, `load8x8_u` 8 bytes
 * into eight 16-bit lanes; the number beside each is log2 of the alignment that is promised.
 */
const LOADS = {
  "v128.load": [0x00, 4],
  "v128.load64_zero": [0x5d, 3],
  "v128.load32_zero": [0x5c, 0],
  "v128.load32_splat": [0x09, 2],
  "v128.load8x8_u": [0x02, 0],
} as const;

export type LoadOp = keyof typeof LOADS;

/** Stores of a vector, or of one of its lanes. */
const STORES = { "v128.store": 0x0b, "v128.store8_lane": 0x58, "v128.store16_lane": 0x59 } as const;

/** A local variable (or parameter) of the function under construction. */
export interface Local {
  readonly index: number;
  readonly type: ValueType;
}

interface StoreTarget {
  readonly address: Local;
  readonly offset: number;
  readonly value: Local;
}

/** Writes one function: allocates locals and appends instructions. Each result goes into a local of its own; the engine's compiler maps them to registers. */
export class FunctionBuilder {
  readonly name: string;
  readonly params: ValueType[] = [];
  readonly locals: ValueType[] = [];
  readonly result: ValueType | undefined;
  readonly code: number[] = [];

  constructor(name: string, result?: ValueType) {
    this.name = name;
    this.result = result;
  }

  /** The next parameter; all parameters come before the first local. */
  param(type: ValueType): Local {
    this.params.push(type);
    return { index: this.params.length - 1, type };
  }

  /** A fresh local, zero at entry. */
  local(type: ValueType): Local {
    this.locals.push(type);
    return { index: this.params.length + this.locals.length - 1, type };
  }

  get(x: Local): void {
    this.code.push(0x20, ...leb(x.index));
  }

  set(x: Local): void {
    this.code.push(0x21, ...leb(x.index));
  }

  /** Pushes the arguments and the instruction; the result stays on the stack. */
  push(op: PlainOp, ...args: readonly Local[]): void {
    for (const arg of args) this.get(arg);
    this.code.push(...PLAIN[op]);
  }

  /** A new local that holds the result of the instruction. */
  compute(type: ValueType, op: PlainOp, ...args: readonly Local[]): Local {
    this.push(op, ...args);
    const result = this.local(type);
    this.set(result);
    return result;
  }

  /** A new vector from the bytes at `address + offset`. */
  load(address: Local, offset: number, op: LoadOp = "v128.load"): Local {
    const [code, align] = LOADS[op];
    this.get(address);
    this.code.push(0xfd, ...leb(code), align, ...leb(offset));
    const result = this.local("v128");
    this.set(result);
    return result;
  }

  /** Writes 16 bytes at `address + offset`. */
  store(address: Local, offset: number, value: Local): void {
    this.get(address);
    this.get(value);
    this.code.push(0xfd, ...leb(0x0b), 4, ...leb(offset));
  }

  /** A new integer from the four bytes at `address + offset`. */
  loadInt(address: Local, offset = 0): Local {
    this.get(address);
    this.code.push(0x28, 2, ...leb(offset));
    const result = this.local("i32");
    this.set(result);
    return result;
  }

  /** Writes all of a vector, at any address. */
  storeUnaligned(address: Local, offset: number, value: Local): void {
    this.#storeAs("v128.store", { address, offset, value });
  }

  /** Writes one lane of a vector. */
  storeLane(op: "v128.store8_lane" | "v128.store16_lane", to: StoreTarget & { readonly lane: number }): void {
    this.#storeAs(op, to);
    this.code.push(to.lane);
  }

  #storeAs(op: keyof typeof STORES, { address, offset, value }: StoreTarget): void {
    this.get(address);
    this.get(value);
    this.code.push(0xfd, ...leb(STORES[op]), 0, ...leb(offset));
  }

  /** A new local with `x + constant`, or a copy of x. */
  plus(x: Local, constant: number): Local {
    this.get(x);
    if (constant !== 0) {
      this.code.push(0x41, ...signedLeb(constant));
      this.push("i32.add");
    }
    const result = this.local("i32");
    this.set(result);
    return result;
  }

  /** Changes a local: `x += y`. */
  advance(x: Local, y: Local | number): void {
    this.get(x);
    if (typeof y === "number") this.code.push(0x41, ...signedLeb(y));
    else this.get(y);
    this.push("i32.add");
    this.set(x);
  }

  /** A local that is changed from here on, with the value of another. */
  variable(x: Local): Local {
    this.get(x);
    const result = this.local(x.type);
    this.set(result);
    return result;
  }

  /** `while (at < end) { body }`, unsigned; the body moves `at` on. */
  whileBelow(at: Local, end: Local, body: () => void): void {
    this.code.push(0x02, 0x40, 0x03, 0x40);
    this.push("i32.ge_u", at, end);
    this.code.push(0x0d, 1);
    body();
    this.code.push(0x0c, 0, 0x0b, 0x0b);
  }

  /** Pushes lane 0 or 1 of two float64s. */
  pushLane(value: Local, lane: 0 | 1): void {
    this.get(value);
    this.code.push(0xfd, ...leb(0x21), lane);
  }

  /** `do { body } while ((at += step) < end)`. */
  doWhileBelow(end: Local, step: number, body: (at: Local) => void): void {
    const at = this.local("i32");
    this.code.push(0x03, 0x40);
    body(at);
    this.get(at);
    this.code.push(0x41, ...signedLeb(step));
    this.push("i32.add");
    this.set(at);
    this.push("i32.lt_u", at, end);
    this.code.push(0x0d, 0, 0x0b);
  }
}

const vector = (items: readonly (readonly number[])[]): number[] => [...leb(items.length), ...items.flat()];
const sized = (bytes: readonly number[]): number[] => [...leb(bytes.length), ...bytes];
const text = (value: string): number[] => sized([...new TextEncoder().encode(value)]);
const section = (id: number, items: readonly (readonly number[])[]): number[] => [id, ...sized(vector(items))];

/** The module: every function exported under its name, memory imported as `env.memory`, shared, up to 4 GB. */
export function assembleModule(functions: readonly FunctionBuilder[]): Uint8Array {
  const types = functions.map((f) => [
    0x60,
    ...vector(f.params.map((t) => [TYPE_CODES[t]])),
    ...vector(f.result === undefined ? [] : [[TYPE_CODES[f.result]]]),
  ]);
  const memory = [...text("env"), ...text("memory"), 0x02, 0x03, ...leb(1), ...leb(MAX_PAGES)];
  const bodies = functions.map((f) => sized([...vector(f.locals.map((t) => [1, TYPE_CODES[t]])), ...f.code, 0x0b]));
  return Uint8Array.from([
    ...MAGIC,
    ...section(SECTION.type, types),
    ...section(SECTION.import, [memory]),
    ...section(
      SECTION.function,
      functions.map((_, i) => leb(i)),
    ),
    ...section(
      SECTION.export,
      functions.map((f, i) => [...text(f.name), 0x00, ...leb(i)]),
    ),
    ...section(SECTION.code, bodies),
  ]);
}
