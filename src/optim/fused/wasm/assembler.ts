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
  | "i32.add"
  | "i32.lt_u"
  | "f64.add"
  | "f32x4.splat"
  | `f32x4.${"add" | "sub" | "mul" | "div" | "sqrt"}`
  | "f64x2.add"
  | "f64x2.mul"
  | "f64x2.promote_low_f32x4";

/** Instructions without immediates, by their names in the specification. */
const PLAIN: { readonly [K in PlainOp]: readonly number[] } = {
  "i32.add": [0x6a],
  "i32.lt_u": [0x49],
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

/** `v128.load` reads 16 bytes, `v128.load64_zero` 8 into the low half; the number beside each is log2 of its alignment. */
const LOADS = { "v128.load": [0x00, 4], "v128.load64_zero": [0x5d, 3] } as const;

/** A local variable (or parameter) of the function under construction. */
export interface Local {
  readonly index: number;
  readonly type: ValueType;
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

  /** A new local with 16 or 8 bytes at `address + offset`. */
  load(address: Local, offset: number, op: "v128.load" | "v128.load64_zero" = "v128.load"): Local {
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
