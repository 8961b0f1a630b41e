/**
 * @file Reads Python pickles as data, never running anything: dicts, lists, tuples, numbers, strings, and what the caller knows by name.
 *
 * A pickle is a program for a small stack machine (CPython, `pickletools.py`). Opcodes that build data are followed; a class or function is
 * a name that the caller either knows how to read as data or refuses.
 */
import { FormatError } from "../../core/index.ts";

/** What a pickle holds. Dicts are Maps (their keys are any value); tuples are lists. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleName
  | PickleObject;

/** A class or function, by name: never looked up. */
export class PickleName {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** An object that the caller made of a name and its arguments, or of a persistent id; or a namespace with its attributes. */
export class PickleObject {
  readonly kind: string;
  readonly value: unknown;
  /** Attributes set afterwards; their values are data. */
  readonly attributes: Map<PickleValue, PickleValue> = new Map();
  constructor(kind: string, value: unknown) {
    this.kind = kind;
    this.value = value;
  }
}

export interface PickleRules {
  readonly file: string;
  /** What calling a name with these arguments gives; undefined refuses. */
  readonly call: (name: string, args: readonly PickleValue[]) => PickleValue | undefined;
  /** Whether the name itself may stand in the data. */
  readonly allows: (name: string) => boolean;
  /** What a persistent id stands for; undefined refuses. */
  readonly persistent: (id: PickleValue) => PickleValue | undefined;
}

export interface ReadPickle {
  readonly value: PickleValue;
  /** Bytes up to and with the last one. */
  readonly length: number;
}

const MARK = Symbol("mark");
type Item = PickleValue | typeof MARK;
const MAX_INTEGER_BYTES = 256;
/** A checkpoint has about 40 for each tensor; each step may make one dict. */
const MAX_STEPS = 4_000_000;
const LATIN = new TextDecoder("latin1");
const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** Reads the value that a pickle at the start of `bytes` builds. Throws FormatError for one that is damaged or wants anything run. */
export function readPickle(bytes: Uint8Array, rules: PickleRules): ReadPickle {
  const machine = new Machine(bytes, rules);
  const value = machine.run();
  return { value, length: machine.at };
}

class Machine {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #rules: PickleRules;
  readonly #stack: Item[] = [];
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();

  constructor(bytes: Uint8Array, rules: PickleRules) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#rules = rules;
  }

  run(): PickleValue {
    for (let steps = 0; ; steps++) {
      if (steps >= MAX_STEPS) this.fail(`it has more than ${MAX_STEPS} steps`);
      const start = this.at;
      const opcode = this.#byte();
      if (opcode === 0x2e) return this.pop(); // STOP
      const step = OPCODES.get(opcode);
      if (step === undefined) this.fail(`it has the unknown opcode 0x${opcode.toString(16)} at byte ${start}`);
      step(this);
    }
  }

  fail(state: string): never {
    const { file } = this.#rules;
    throw new FormatError(`Cannot read pickle of "${file}": ${state}; save the weights again, as safetensors if you can`, { file });
  }

  refuse(name: string): never {
    const { file } = this.#rules;
    throw new FormatError(
      `Cannot read pickle of "${file}": it wants "${name}", and only tensors and plain data are read, nothing is run; save the weights alone, as safetensors if you can`,
      { file },
    );
  }

  push(item: PickleValue): void {
    this.#stack.push(item);
  }

  pop(): PickleValue {
    const item = this.#stack.pop();
    if (item === undefined || item === MARK) this.fail(`its stack is empty at byte ${this.at}`);
    return item;
  }

  top(): PickleValue {
    const item = this.#stack.at(-1);
    if (item === undefined || item === MARK) this.fail(`its stack is empty at byte ${this.at}`);
    return item;
  }

  discard(): void {
    if (this.#stack.pop() === MARK) this.#marks.pop();
  }

  mark(): void {
    this.#marks.push(this.#stack.length);
    this.#stack.push(MARK);
  }

  /** What was pushed since the last mark, which goes. */
  sinceMark(): PickleValue[] {
    const from = this.#marks.pop();
    if (from === undefined) this.fail(`it has no mark at byte ${this.at}`);
    return this.#stack.splice(from).slice(1) as PickleValue[]; // marks in between would be in #marks, later than `from`
  }

  popTuple(count: number): PickleValue[] {
    return Array.from({ length: count }, () => this.pop()).toReversed();
  }

  popList(): PickleValue[] {
    const list = this.top();
    if (!Array.isArray(list)) this.fail(`it appends to what is no list at byte ${this.at}`);
    return list as PickleValue[]; // every array on the stack is one of ours
  }

  setItems(target: PickleValue, items: readonly PickleValue[]): void {
    if (!(target instanceof Map) || items.length % 2 !== 0) this.fail(`it sets items of what is no dict at byte ${this.at}`);
    for (let i = 0; i < items.length; i += 2) target.set(items[i] ?? null, items[i + 1] ?? null);
  }

  remember(key: number): void {
    this.#memo.set(key, this.top());
  }

  recall(key: number): void {
    const value = this.#memo.get(key);
    if (value === undefined) this.fail(`it recalls value ${key}, which it never kept`);
    this.push(value);
  }

  rememberNext(): void {
    this.remember(this.#memo.size);
  }

  pushName(module: PickleValue, name: PickleValue): void {
    if (typeof module !== "string" || typeof name !== "string") this.fail(`it names a class by what is no string at byte ${this.at}`);
    const full = `${module}.${name}`;
    if (!this.#rules.allows(full)) this.refuse(full);
    this.push(new PickleName(full));
  }

  call(callee: PickleValue, args: PickleValue): void {
    if (!(callee instanceof PickleName)) this.fail(`it calls what is no function at byte ${this.at}`);
    if (!Array.isArray(args)) this.fail(`it calls "${callee.name}" without a tuple at byte ${this.at}`);
    const made = this.#rules.call(callee.name, args as readonly PickleValue[]); // every array on the stack is one of ours
    if (made === undefined) this.refuse(callee.name);
    this.push(made);
  }

  persistent(id: PickleValue): void {
    const made = this.#rules.persistent(id);
    if (made === undefined) this.refuse("a persistent id of another kind than a storage");
    this.push(made);
  }

  /** Attributes of an object; those of dicts (`_metadata` of a state dict) are nothing we read. */
  build(state: PickleValue): void {
    const target = this.top();
    if (target instanceof Map) return;
    if (!(target instanceof PickleObject) || !(state instanceof Map)) this.fail(`it sets attributes of plain data at byte ${this.at}`);
    for (const [key, value] of state) target.attributes.set(key, value);
  }

  #byte(): number {
    const byte = this.#bytes[this.at];
    if (byte === undefined) this.fail(`it is cut off at byte ${this.at}`);
    this.at++;
    return byte;
  }

  take(count: number): Uint8Array {
    const end = this.at + count;
    if (end > this.#bytes.length) this.fail(`it is cut off at byte ${this.#bytes.length}, in a value of ${count} bytes`);
    const part = this.#bytes.subarray(this.at, end);
    this.at = end;
    return part;
  }

  uint(bytes: 1 | 2 | 4 | 8): number {
    const at = this.at;
    this.take(bytes);
    if (bytes === 8) return Number(this.#view.getBigUint64(at, true));
    return bytes === 4 ? this.#view.getUint32(at, true) : bytes === 2 ? this.#view.getUint16(at, true) : this.#view.getUint8(at);
  }

  int32(): number {
    const at = this.at;
    this.take(4);
    return this.#view.getInt32(at, true);
  }

  float64(): number {
    const at = this.at;
    this.take(8);
    return this.#view.getFloat64(at, false);
  }

  /** A little-endian two's complement integer. */
  long(length: number): number | bigint {
    if (length > MAX_INTEGER_BYTES) this.fail(`it has an integer of ${length} bytes`);
    let value = 0n;
    const bytes = this.take(length);
    for (const [i, byte] of bytes.entries()) value |= BigInt(byte) << BigInt(8 * i);
    if ((bytes.at(-1) ?? 0) & 0x80) value -= 1n << BigInt(8 * length);
    return plain(value);
  }

  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.at);
    if (end < 0) this.fail("it is cut off in a line");
    const text = LATIN.decode(this.#bytes.subarray(this.at, end));
    this.at = end + 1;
    return text;
  }

  text(length: number): string {
    const bytes = this.take(length);
    try {
      return UTF8.decode(bytes);
    } catch {
      return this.fail(`it has a string that is not UTF-8 before byte ${this.at}`);
    }
  }

  latin(length: number): string {
    return LATIN.decode(this.take(length));
  }

  number(text: string): number | bigint {
    if (!/^-?\d{1,300}L?$/.test(text)) this.fail(`it has the integer "${text.slice(0, 20)}"`);
    return plain(BigInt(text.replace(/L$/, "")));
  }

  key(): number {
    return Number(this.number(this.line()));
  }
}

function plain(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function asInt(m: Machine, text: string): PickleValue {
  if (text === "00") return false;
  return text === "01" ? true : m.number(text);
}

function asFloat(m: Machine, text: string): number {
  const value = Number(text);
  return text.trim() === "" || (Number.isNaN(value) && text !== "nan") ? m.fail(`it has the number "${text.slice(0, 20)}"`) : value;
}

/** By code, as in CPython's `pickletools`. What is not here is not data. */
const OPCODES: ReadonlyMap<number, (m: Machine) => void> = new Map(
  (
    [
      ["\x80", (m) => void (m.uint(1) <= 5 || m.fail("it has a protocol later than 5"))], // PROTO
      ["\x95", (m) => void m.uint(8)], // FRAME
      ["(", (m) => m.mark()],
      ["0", (m) => m.discard()],
      ["1", (m) => void m.sinceMark()],
      ["2", (m) => m.push(m.top())],
      ["N", (m) => m.push(null)],
      ["\x88", (m) => m.push(true)],
      ["\x89", (m) => m.push(false)],
      ["I", (m) => m.push(asInt(m, m.line()))],
      ["L", (m) => m.push(m.number(m.line()))],
      ["J", (m) => m.push(m.int32())],
      ["K", (m) => m.push(m.uint(1))],
      ["M", (m) => m.push(m.uint(2))],
      ["\x8a", (m) => m.push(m.long(m.uint(1)))],
      ["\x8b", (m) => m.push(m.long(m.uint(4)))],
      ["F", (m) => m.push(asFloat(m, m.line()))],
      ["G", (m) => m.push(m.float64())],
      ["T", (m) => m.push(m.latin(m.uint(4)))],
      ["U", (m) => m.push(m.latin(m.uint(1)))],
      ["X", (m) => m.push(m.text(m.uint(4)))],
      ["\x8c", (m) => m.push(m.text(m.uint(1)))],
      ["\x8d", (m) => m.push(m.text(m.uint(8)))],
      ["B", (m) => m.push(m.take(m.uint(4)))],
      ["C", (m) => m.push(m.take(m.uint(1)))],
      ["\x8e", (m) => m.push(m.take(m.uint(8)))],
      ["]", (m) => m.push([])],
      ["l", (m) => m.push(m.sinceMark())],
      [
        "a",
        (m) => {
          const item = m.pop();
          m.popList().push(item);
        },
      ],
      [
        "e",
        (m) => {
          const items = m.sinceMark();
          const list = m.popList();
          for (const item of items) list.push(item);
        },
      ],
      [")", (m) => m.push([])],
      ["t", (m) => m.push(m.sinceMark())],
      ["\x85", (m) => m.push(m.popTuple(1))],
      ["\x86", (m) => m.push(m.popTuple(2))],
      ["\x87", (m) => m.push(m.popTuple(3))],
      ["}", (m) => m.push(new Map())],
      [
        "d",
        (m) => {
          const items = m.sinceMark();
          m.push(new Map());
          m.setItems(m.top(), items);
        },
      ],
      [
        "s",
        (m) => {
          const pair = m.popTuple(2);
          m.setItems(m.top(), pair);
        },
      ],
      [
        "u",
        (m) => {
          const items = m.sinceMark();
          m.setItems(m.top(), items);
        },
      ],
      ["p", (m) => m.remember(m.key())],
      ["q", (m) => m.remember(m.uint(1))],
      ["r", (m) => m.remember(m.uint(4))],
      ["\x94", (m) => m.rememberNext()],
      ["g", (m) => m.recall(m.key())],
      ["h", (m) => m.recall(m.uint(1))],
      ["j", (m) => m.recall(m.uint(4))],
      ["c", (m) => m.pushName(m.line(), m.line())],
      ["\x93", (m) => m.pushName(...(m.popTuple(2) as [PickleValue, PickleValue]))], // two were popped
      ["R", (m) => m.call(...(m.popTuple(2) as [PickleValue, PickleValue]))], // as above
      ["\x81", (m) => m.call(...(m.popTuple(2) as [PickleValue, PickleValue]))], // as above
      ["Q", (m) => m.persistent(m.pop())],
      ["b", (m) => m.build(m.pop())],
    ] as const satisfies readonly (readonly [string, (m: Machine) => void])[]
  ).map(([code, step]) => [code.charCodeAt(0), step] as const),
);
