/** @file Tensors in PyTorch's pickles: views of storages, by name; nothing is read yet. */
import { FormatError, type HostTensor, type Shape, sizeOf, stridesOf } from "../../core/index.ts";
import { STORED_BYTES, type StoredDType, tensorOf } from "../tensor-bytes.ts";
import { PickleName, PickleObject, type PickleRules, type PickleValue } from "./pickle.ts";

/** A storage as the pickle names it. */
export interface StorageRef {
  /** undefined: values of a type that no tensor of ours has. */
  readonly dtype: StoredDType | undefined;
  readonly typeName: string;
  /** Bytes of a value. */
  readonly width: number;
  readonly key: string;
  readonly length: number;
}

/** A view of a storage; offset and strides in elements. */
export interface TensorRef {
  readonly storage: StorageRef;
  readonly offset: number;
  readonly shape: Shape;
  readonly strides: readonly number[];
}

interface StorageType {
  readonly dtype: StoredDType | undefined;
  readonly width: number;
}
const known = (dtype: StoredDType): StorageType => ({ dtype, width: STORED_BYTES[dtype] });
const unknown = (width: number): StorageType => ({ dtype: undefined, width });

const STORAGES: ReadonlyMap<string, StorageType> = new Map([
  ["torch.FloatStorage", known("f32")],
  ["torch.DoubleStorage", known("f64")],
  ["torch.HalfStorage", known("f16")],
  ["torch.BFloat16Storage", known("bf16")],
  ["torch.LongStorage", known("i64")],
  ["torch.IntStorage", known("i32")],
  ["torch.ByteStorage", known("u8")],
  ["torch.BoolStorage", known("bool")],
  ["torch.ShortStorage", known("i16")],
  ["torch.CharStorage", known("i8")],
  ["torch.ComplexFloatStorage", unknown(8)],
  ["torch.ComplexDoubleStorage", unknown(16)],
]);
/** What values of a storage, by its name in PyTorch, are read as; undefined for those that are not. */
export function storageDType(name: string): StoredDType | undefined {
  return STORAGES.get(name)?.dtype;
}

const DTYPE_NAME = /^torch\.(?:float(?:16|32|64)?|double|half|bfloat16|u?int(?:8|16|32|64)|long|int|short|bool)$/;
const CALLS = ["collections.OrderedDict", "argparse.Namespace", "torch.Size", "torch.device"];
const REBUILDS = ["torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"];
const NAMES = new Set([...CALLS, ...REBUILDS]);

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n) => typeof n === "number" && Number.isSafeInteger(n) && n >= 0);

/** Throws FormatError for a view that leaves its storage, or shows more elements than it has. */
function checkView({ storage, offset, shape, strides }: TensorRef, file: string): void {
  const count = sizeOf(shape);
  const last = offset + shape.reduce((at, n, i) => at + (n - 1) * (strides[i] ?? 0), 0);
  const fits = shape.length === strides.length && Number.isSafeInteger(count) && (count === 0 || last < storage.length);
  if (fits && count <= storage.length) return;
  throw new FormatError(
    `Cannot read pickle of "${file}": a tensor [${shape.join(",")}] does not lie in its storage of ${storage.length} values; save the weights again`,
    { file },
  );
}

function rebuildTensor(args: readonly PickleValue[], file: string): PickleObject | undefined {
  const [source, offset, shape, strides] = args;
  if (!(source instanceof PickleObject) || source.kind !== "storage") return undefined;
  if (!isSizes([offset]) || typeof offset !== "number" || !isSizes(shape) || !isSizes(strides)) return undefined;
  const ref: TensorRef = { storage: source.value as StorageRef, offset, shape, strides }; // made by persistent() below
  checkView(ref, file);
  return new PickleObject("tensor", ref);
}

function call(name: string, args: readonly PickleValue[], file: string): PickleValue | undefined {
  if (name === "torch._utils._rebuild_parameter") {
    const [tensor] = args;
    return tensor instanceof PickleObject && tensor.kind === "tensor" ? tensor : undefined;
  }
  if (REBUILDS.includes(name)) return rebuildTensor(args, file);
  if (name === "collections.OrderedDict") return orderedDict(args);
  if (name === "argparse.Namespace") return args.length === 0 ? new PickleObject("namespace", undefined) : undefined;
  return CALLS.includes(name) ? args : undefined;
}

/** Empty, or of a list of pairs, as protocol 2 of Python 2 wrote it. */
function orderedDict([pairs = []]: readonly PickleValue[]): PickleValue | undefined {
  if (!Array.isArray(pairs)) return undefined;
  const out = new Map<PickleValue, PickleValue>();
  for (const pair of pairs as readonly PickleValue[]) {
    if (!Array.isArray(pair) || pair.length !== 2) return undefined;
    const [key = null, value = null] = pair as readonly PickleValue[]; // every array of a pickle is one of these
    out.set(key, value);
  }
  return out;
}

/** `("storage", torch.FloatStorage, key, location, length[, view])`. Views of storages, from before PyTorch 0.4, are not known. */
function persistent(id: PickleValue, storages: Map<string, StorageRef>): PickleObject | undefined {
  if (!Array.isArray(id)) return undefined;
  const [kind, type, key, , length, view = null] = id as readonly PickleValue[]; // every array of a pickle is one of these
  const known = type instanceof PickleName ? STORAGES.get(type.name) : undefined;
  if (kind !== "storage" || !(type instanceof PickleName) || known === undefined) return undefined;
  if (typeof key !== "string" || typeof length !== "number" || !isSizes([length]) || view !== null) return undefined;
  const ref: StorageRef = { ...known, typeName: type.name, key, length };
  storages.set(key, ref);
  return new PickleObject("storage", ref);
}

/** What PyTorch's checkpoints may hold: tensors, parameters, namespaces and plain data. Storages are noted in `storages`. */
export function torchRules(file: string, storages: Map<string, StorageRef> = new Map()): PickleRules {
  return {
    file,
    call: (name, args) => call(name, args, file),
    allows: (name) => NAMES.has(name) || STORAGES.has(name) || DTYPE_NAME.test(name),
    persistent: (id) => persistent(id, storages),
  };
}

const MAX_DEPTH = 32;
const MAX_NODES = 2_000_000;
const MAX_KEY = 1000;

/**
 * Every tensor in dicts and lists, by its path with dots: `teacher.backbone.cls_token`. Throws FormatError for what is nested too deep or in
 * itself, for one that unfolds without end, and for two tensors of one path.
 */
export function listTensors(value: PickleValue, file: string): Map<string, TensorRef> {
  const out = new Map<string, TensorRef>();
  let nodes = 0;
  const fail = (state: string): never => {
    throw new FormatError(`Cannot read pickle of "${file}": ${state}; save the weights alone`, { file });
  };
  const visit = (node: PickleValue, path: string, depth: number): void => {
    if (node instanceof PickleObject) {
      if (node.kind !== "tensor") return;
      if (out.has(path)) fail(`two tensors are called "${path}"`);
      out.set(path, node.value as TensorRef); // made by rebuildTensor above
      return;
    }
    const pairs = node instanceof Map ? node : Array.isArray(node) ? (node as readonly PickleValue[]).entries() : [];
    for (const [key, inner] of pairs) {
      if (++nodes > MAX_NODES) fail(`it holds more than ${MAX_NODES} values`);
      if (depth >= MAX_DEPTH) fail(`it nests ${MAX_DEPTH} dicts or lists`);
      if (typeof key !== "string" && typeof key !== "number") continue;
      if (typeof key === "string" && key.length > MAX_KEY) fail(`a key has ${key.length} characters`);
      visit(inner, path === "" ? String(key) : `${path}.${key}`, depth + 1);
    }
  };
  visit(value, "", 0);
  return out;
}

/** Elements in row-major order, whatever the strides. */
function gather(bytes: Uint8Array, { offset, shape, strides }: TensorRef, width: number): Uint8Array {
  const count = sizeOf(shape);
  const out = new Uint8Array(count * width);
  const index = Array<number>(shape.length).fill(0);
  let at = offset;
  for (let i = 0; i < count; i++) {
    out.set(bytes.subarray(at * width, (at + 1) * width), i * width);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis] ?? 0;
      if (++index[axis]! < (shape[axis] ?? 0)) break; // axis < shape.length
      at -= (strides[axis] ?? 0) * (shape[axis] ?? 0);
      index[axis] = 0;
    }
  }
  return out;
}

function isContiguous({ shape, strides }: TensorRef): boolean {
  const wanted = stridesOf(shape);
  return shape.every((n, i) => n === 1 || strides[i] === wanted[i]);
}

/** Bytes of a whole view in its storage's memory; `from` and `to` are elements of the storage. */
export type ReadStorage = (storage: StorageRef, from: number, to: number) => Promise<Uint8Array>;

/** The values of a tensor. Throws FormatError for a type that no tensor of ours has. */
export async function readTensor(
  ref: TensorRef,
  { read, file }: { readonly read: ReadStorage; readonly file: string },
): Promise<HostTensor> {
  const { storage, offset, shape, strides } = ref;
  const { dtype, typeName } = storage;
  if (dtype === undefined)
    throw new FormatError(`Cannot read weights of "${file}": values of ${typeName} are not known; save them as float32`, { file });
  const count = sizeOf(shape);
  if (count === 0) return tensorOf(dtype, shape, new Uint8Array(0));
  if (isContiguous(ref)) return tensorOf(dtype, shape, await read(storage, offset, offset + count));
  const end = offset + shape.reduce((at, n, i) => at + (n - 1) * (strides[i] ?? 0), 1);
  const bytes = await read(storage, offset, end);
  return tensorOf(dtype, shape, gather(bytes, { ...ref, offset: 0 }, STORED_BYTES[dtype]));
}
