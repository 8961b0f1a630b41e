/** @file ONNX models as bytes: our small description of a model to protobuf, and back for tests and printing. */
import {
  type DType,
  DTYPE_BYTES,
  DTYPE_NAMES,
  DTypeError,
  FormatError,
  type Shape,
  ShapeError,
  sizeOf,
  type TypedArray,
} from "../../core/index.ts";
import { readFields, readPacked, readText, type WireField, WireWriter } from "./wire.ts";

export interface OnnxNode {
  readonly op: string;
  readonly domain?: "com.microsoft";
  /** "" stands for an optional input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attrs?: Readonly<Record<string, OnnxAttr>>;
}

export type OnnxAttr =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly string: string };

/** Element types of a file: ours, and what weights are stored as (float16 as bit patterns in a Uint16Array). */
export type OnnxDType = DType | "f16" | "i8";

export interface OnnxTensorInfo {
  readonly name: string;
  readonly dtype: OnnxDType;
  /** A text is the name of a size that is not fixed (`batch_size`). */
  readonly shape: readonly (number | string)[];
}

export interface OnnxInitializer {
  readonly name: string;
  readonly dtype: OnnxDType;
  readonly shape: Shape;
  /** A getter that makes it keeps memory small: it is asked once, when it is written. */
  readonly data: TypedArray | Int8Array;
}

/** Initializers that lie in a file beside the model. */
export interface ExternalPlaces {
  /** The file's name. */
  readonly location: string;
  readonly places: ReadonlyMap<string, { readonly offset: number; readonly length: number }>;
}

/** A file before it is written. */
export interface Pieces {
  readonly sizeBytes: number;
  /** What it is made of, in order; each is made when it is asked for. */
  readonly pieces: Iterable<Uint8Array>;
}

export interface OnnxModel {
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxInitializer[];
  readonly inputs: readonly OnnxTensorInfo[];
  readonly outputs: readonly OnnxTensorInfo[];
  /** Version of ONNX's own operator set; 21 when absent. `com.microsoft` is always version 1. */
  readonly opset?: number;
  /** Whether only ONNX's own operators are there, so that no other set is named. */
  readonly standard?: boolean;
  /** What is said about the model, by key (`metadata_props`). */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** TensorProto.DataType of ONNX, which is also ONNXTensorElementDataType of ONNX Runtime's C API. */
export const ONNX_DTYPE: { readonly [K in OnnxDType]: number } = {
  f32: 1,
  u8: 2,
  i8: 3,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  f64: 11,
  bf16: 16,
};
const BYTES: { readonly [K in OnnxDType]: number } = { ...DTYPE_BYTES, f16: 2, i8: 1 };
const NAMES: { readonly [K in OnnxDType]: string } = { ...DTYPE_NAMES, f16: "float16", i8: "int8" };

/** `float16[2,3]`. */
function typeText(dtype: OnnxDType, shape: Shape): string {
  return `${NAMES[dtype]}[${shape.join(",")}]`;
}

const DEFAULT_OPSET = 21;
const MICROSOFT = "com.microsoft";

// Field numbers of onnx.proto (ONNX 1.17).
const MODEL = { irVersion: 1, producer: 2, graph: 7, opset: 8, metadata: 14 } as const;
const ENTRY = { key: 1, value: 2 } as const;
const OPSET = { domain: 1, version: 2 } as const;
const GRAPH = { node: 1, name: 2, initializer: 5, input: 11, output: 12 } as const;
const NODE = { input: 1, output: 2, op: 4, attribute: 5, domain: 7 } as const;
const ATTRIBUTE = { name: 1, float: 2, int: 3, string: 4, ints: 8, type: 20 } as const;
const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, ints: 7 } as const;
const TENSOR = { dims: 1, dtype: 2, name: 8, raw: 9, external: 13, location: 14 } as const;
const EXTERNAL = 1;
const VALUE = { name: 1, type: 2 } as const;
const TYPE = { tensor: 1, dtype: 1, shape: 2, dim: 1, dimValue: 1, dimName: 2 } as const;

/** The version of the file format that came with an operator set: older readers take older files. */
function irVersion(opset: number): number {
  return opset >= 21 ? 10 : opset >= 19 ? 9 : 8;
}

/**
 * The model as protobuf, in pieces that follow each other: weights are their own memory, nothing is copied; those that have a place
 * elsewhere are named with it. Throws ShapeError, when its piece is asked for, for an initializer whose data does not fill its shape.
 */
export function modelPieces(model: OnnxModel, external?: ExternalPlaces): Pieces {
  const { opset = DEFAULT_OPSET } = model;
  const graph = new WireWriter();
  writeGraph(graph, model);
  const nodes = graph.finish();
  const initializers = model.initializers.map((own) => initializerPieces(own, external));
  const graphBytes = initializers.reduce((n, { sizeBytes }) => n + sizeBytes, nodes.length);
  const head = new WireWriter();
  head.int(MODEL.irVersion, irVersion(opset));
  head.string(MODEL.producer, "tricera");
  head.open(MODEL.graph, graphBytes);
  const [before, after] = [head.finish(), modelTail(model, opset)];
  const pieces = function* (): Generator<Uint8Array> {
    yield before;
    yield nodes;
    for (const one of initializers) yield* one.pieces;
    yield after;
  };
  return { sizeBytes: before.length + graphBytes + after.length, pieces: { [Symbol.iterator]: pieces } };
}

function modelTail({ standard = false, metadata = {} }: OnnxModel, opset: number): Uint8Array {
  const tail = new WireWriter();
  writeOpset(tail, "", opset);
  if (!standard) writeOpset(tail, MICROSOFT, 1);
  for (const [key, value] of Object.entries(metadata)) writeEntry(tail, MODEL.metadata, [key, value]);
  return tail.finish();
}

/** The pieces of `modelPieces` as one. */
export function encodeModel(model: OnnxModel): Uint8Array {
  const { sizeBytes, pieces } = modelPieces(model);
  const bytes = new Uint8Array(sizeBytes);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** A StringStringEntryProto. */
function writeEntry(w: WireWriter, field: number, [key, value]: readonly [string, string]): void {
  w.message(field, () => {
    w.string(ENTRY.key, key);
    w.string(ENTRY.value, value);
  });
}

function writeOpset(w: WireWriter, domain: string, version: number): void {
  w.message(MODEL.opset, () => {
    w.string(OPSET.domain, domain);
    w.int(OPSET.version, version);
  });
}

function writeGraph(w: WireWriter, model: OnnxModel): void {
  for (const node of model.nodes) w.message(GRAPH.node, () => writeNode(w, node));
  w.string(GRAPH.name, "tricera");
  for (const info of model.inputs) w.message(GRAPH.input, () => writeInfo(w, info));
  for (const info of model.outputs) w.message(GRAPH.output, () => writeInfo(w, info));
}

function writeNode(w: WireWriter, node: OnnxNode): void {
  for (const name of node.inputs) w.string(NODE.input, name);
  for (const name of node.outputs) w.string(NODE.output, name);
  w.string(NODE.op, node.op);
  for (const [name, attr] of Object.entries(node.attrs ?? {})) w.message(NODE.attribute, () => writeAttr(w, name, attr));
  if (node.domain !== undefined) w.string(NODE.domain, node.domain);
}

function writeAttr(w: WireWriter, name: string, attr: OnnxAttr): void {
  w.string(ATTRIBUTE.name, name);
  if ("int" in attr) w.int(ATTRIBUTE.int, attr.int);
  else if ("float" in attr) w.float(ATTRIBUTE.float, attr.float);
  else if ("string" in attr) w.string(ATTRIBUTE.string, attr.string);
  else for (const value of attr.ints) w.int(ATTRIBUTE.ints, value);
  w.int(ATTRIBUTE.type, ATTRIBUTE_TYPE[attrKind(attr)]);
}

function attrKind(attr: OnnxAttr): keyof typeof ATTRIBUTE_TYPE {
  if ("int" in attr) return "int";
  if ("float" in attr) return "float";
  return "string" in attr ? "string" : "ints";
}

/** Bytes of an initializer's data. */
export function initializerBytes({ dtype, shape }: Pick<OnnxInitializer, "dtype" | "shape">): number {
  return sizeOf(shape) * BYTES[dtype];
}

/** An initializer's data as it is stored: ONNX is little-endian, as is every platform of Node.js. Throws ShapeError where it does not fill the shape. */
export function initializerData(own: OnnxInitializer): Uint8Array {
  const { data, name, dtype, shape } = own;
  const needed = initializerBytes(own);
  if (data.byteLength !== needed)
    throw new ShapeError(
      `Cannot encode initializer "${name}": ${typeText(dtype, shape)} takes ${needed} bytes, its data has ${data.byteLength}; pass data of that shape`,
    );
  return new Uint8Array(data.buffer, data.byteOffset, needed);
}

/** One initializer as a field of the graph: what comes before its data, and the data, unless that lies elsewhere. */
function initializerPieces(own: OnnxInitializer, external: ExternalPlaces | undefined): Pieces {
  const { name, dtype, shape } = own;
  const place = external?.places.get(name);
  const w = new WireWriter();
  for (const dim of shape) w.int(TENSOR.dims, dim);
  w.int(TENSOR.dtype, ONNX_DTYPE[dtype]);
  w.string(TENSOR.name, name);
  if (external === undefined || place === undefined) w.open(TENSOR.raw, initializerBytes(own));
  else writePlace(w, external.location, place);
  const before = w.finish();
  const length = before.length + (place === undefined ? initializerBytes(own) : 0);
  const head = new WireWriter();
  head.open(GRAPH.initializer, length);
  const opened = head.finish();
  const pieces = function* (): Generator<Uint8Array> {
    yield opened;
    yield before;
    if (place === undefined) yield initializerData(own);
  };
  return { sizeBytes: opened.length + length, pieces: { [Symbol.iterator]: pieces } };
}

function writePlace(w: WireWriter, location: string, { offset, length }: { readonly offset: number; readonly length: number }): void {
  for (const entry of Object.entries({ location, offset: String(offset), length: String(length) })) writeEntry(w, TENSOR.external, entry);
  w.int(TENSOR.location, EXTERNAL);
}

function writeInfo(w: WireWriter, { name, dtype, shape }: OnnxTensorInfo): void {
  w.string(VALUE.name, name);
  w.message(VALUE.type, () =>
    w.message(TYPE.tensor, () => {
      w.int(TYPE.dtype, ONNX_DTYPE[dtype]);
      w.message(TYPE.shape, () => {
        for (const dim of shape)
          w.message(TYPE.dim, () => (typeof dim === "number" ? w.int(TYPE.dimValue, dim) : w.string(TYPE.dimName, dim)));
      });
    }),
  );
}

/** Reads back what `encodeModel` writes; fields it never writes are skipped. Throws FormatError on anything else. */
export function decodeModel(bytes: Uint8Array): OnnxModel {
  let graph: DecodedGraph | undefined;
  let opset = 0;
  const metadata: Record<string, string> = {};
  for (const f of readFields(bytes)) {
    if (f.field === MODEL.graph) graph = readGraph(f.bytes);
    if (f.field === MODEL.opset) opset = readOpset(f.bytes) ?? opset;
    if (f.field === MODEL.metadata) Object.assign(metadata, readEntry(f.bytes));
  }
  if (graph === undefined) throw new FormatError("Cannot read ONNX model: it has no graph; it is damaged or no ONNX model");
  return { ...graph, opset, ...(Object.keys(metadata).length === 0 ? {} : { metadata }) };
}

type DecodedGraph = Pick<OnnxModel, "nodes" | "initializers" | "inputs" | "outputs">;

function readEntry(bytes: Uint8Array): Record<string, string> {
  const fields = [...readFields(bytes)];
  const text = (field: number): string => readText(fields.find((f) => f.field === field)?.bytes ?? new Uint8Array(0));
  return { [text(ENTRY.key)]: text(ENTRY.value) };
}

/** The version of ONNX's own operator set; undefined for another domain. */
function readOpset(bytes: Uint8Array): number | undefined {
  const fields = [...readFields(bytes)];
  const domain = fields.find((f) => f.field === OPSET.domain);
  if (domain !== undefined && domain.bytes.length > 0) return undefined;
  return fields.find((f) => f.field === OPSET.version)?.number;
}

function readGraph(bytes: Uint8Array): DecodedGraph {
  const graph = {
    nodes: [] as OnnxNode[],
    initializers: [] as OnnxInitializer[],
    inputs: [] as OnnxTensorInfo[],
    outputs: [] as OnnxTensorInfo[],
  }; // as: empty lists need their type
  for (const f of readFields(bytes)) {
    if (f.field === GRAPH.node) graph.nodes.push(readNode(f.bytes));
    if (f.field === GRAPH.initializer) graph.initializers.push(readInitializer(f.bytes));
    if (f.field === GRAPH.input) graph.inputs.push(readInfo(f.bytes));
    if (f.field === GRAPH.output) graph.outputs.push(readInfo(f.bytes));
  }
  return graph;
}

function readNode(bytes: Uint8Array): OnnxNode {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attrs: Record<string, OnnxAttr> = {};
  let op = "";
  let domain = "";
  for (const f of readFields(bytes)) {
    if (f.field === NODE.input) inputs.push(readText(f.bytes));
    if (f.field === NODE.output) outputs.push(readText(f.bytes));
    if (f.field === NODE.op) op = readText(f.bytes);
    if (f.field === NODE.domain) domain = readText(f.bytes);
    if (f.field === NODE.attribute) Object.assign(attrs, readAttr(f.bytes));
  }
  const withAttrs = Object.keys(attrs).length === 0 ? {} : { attrs };
  return { op, ...(domain === MICROSOFT ? { domain: MICROSOFT } : {}), inputs, outputs, ...withAttrs };
}

function readAttr(bytes: Uint8Array): Record<string, OnnxAttr> {
  const fields = [...readFields(bytes)];
  const number = (field: number): number => fields.find((f) => f.field === field)?.number ?? 0;
  const string = (field: number): string => readText(fields.find((f) => f.field === field)?.bytes ?? new Uint8Array(0));
  const name = string(ATTRIBUTE.name);
  const kind = number(ATTRIBUTE.type);
  if (kind === ATTRIBUTE_TYPE.int) return { [name]: { int: number(ATTRIBUTE.int) } };
  if (kind === ATTRIBUTE_TYPE.float) return { [name]: { float: number(ATTRIBUTE.float) } };
  if (kind === ATTRIBUTE_TYPE.string) return { [name]: { string: string(ATTRIBUTE.string) } };
  if (kind === ATTRIBUTE_TYPE.ints) return { [name]: { ints: readInts(fields, ATTRIBUTE.ints) } };
  throw new FormatError(`Cannot read ONNX model: attribute "${name}" has type ${kind}; only int, ints, float and string are known`);
}

function readInts(fields: readonly WireField[], field: number): number[] {
  return fields.filter((f) => f.field === field).flatMap((f) => (f.bytes.length > 0 ? readPacked(f.bytes) : [f.number]));
}

function readDType(code: number): OnnxDType {
  const found = Object.entries(ONNX_DTYPE).find(([, value]) => value === code);
  if (found === undefined)
    throw new DTypeError(`Cannot read ONNX model: element type ${code} is not one of ours; use ${Object.keys(ONNX_DTYPE).join(", ")}`);
  return found[0] as OnnxDType; // as: the keys of ONNX_DTYPE are such
}

function readInitializer(bytes: Uint8Array): OnnxInitializer {
  const fields = [...readFields(bytes)];
  const dtype = readDType(fields.find((f) => f.field === TENSOR.dtype)?.number ?? 0);
  const shape = readInts(fields, TENSOR.dims);
  const name = readText(fields.find((f) => f.field === TENSOR.name)?.bytes ?? new Uint8Array(0));
  const raw = fields.find((f) => f.field === TENSOR.raw)?.bytes ?? new Uint8Array(0);
  if (raw.length !== sizeOf(shape) * BYTES[dtype])
    throw new FormatError(
      `Cannot read initializer "${name}": ${typeText(dtype, shape)} has ${raw.length} bytes of data; the model is damaged`,
    );
  return { name, dtype, shape, data: typed(dtype, raw) };
}

/** An aligned copy of raw bytes as the typed array of their element type. */
function typed(dtype: OnnxDType, raw: Uint8Array): TypedArray | Int8Array {
  const buffer = raw.slice().buffer;
  const make: { readonly [K in OnnxDType]: () => TypedArray | Int8Array } = {
    f16: () => new Uint16Array(buffer),
    i8: () => new Int8Array(buffer),
    f32: () => new Float32Array(buffer),
    f64: () => new Float64Array(buffer),
    bf16: () => new Uint16Array(buffer),
    i32: () => new Int32Array(buffer),
    i64: () => new BigInt64Array(buffer),
    bool: () => new Uint8Array(buffer),
    u8: () => new Uint8Array(buffer),
  };
  return make[dtype]();
}

function readInfo(bytes: Uint8Array): OnnxTensorInfo {
  let name = "";
  let dtype: OnnxDType = "f32";
  let shape: (number | string)[] = [];
  for (const f of readFields(bytes)) {
    if (f.field === VALUE.name) name = readText(f.bytes);
    if (f.field !== VALUE.type) continue;
    for (const type of readFields(f.bytes))
      for (const t of readFields(type.bytes)) {
        if (t.field === TYPE.dtype) dtype = readDType(t.number);
        if (t.field === TYPE.shape) shape = [...readFields(t.bytes)].map((dim) => readDim(dim.bytes));
      }
  }
  return { name, dtype, shape };
}

/** A fixed size, or the name of one that is not; -1 where it has none. */
function readDim(bytes: Uint8Array): number | string {
  const [dim] = [...readFields(bytes)].filter(({ field }) => field === TYPE.dimValue || field === TYPE.dimName);
  if (dim === undefined) return -1;
  return dim.field === TYPE.dimName ? readText(dim.bytes) : dim.number;
}
