/** @file ONNX models as bytes: our small description of a model to protobuf, and back for tests and printing. */
import {
  type DType,
  DTYPE_BYTES,
  DTypeError,
  FormatError,
  formatType,
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

export interface OnnxTensorInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

export interface OnnxInitializer extends OnnxTensorInfo {
  readonly data: TypedArray;
}

export interface OnnxModel {
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxInitializer[];
  readonly inputs: readonly OnnxTensorInfo[];
  readonly outputs: readonly OnnxTensorInfo[];
  /** Version of ONNX's own operator set; 21 when absent. `com.microsoft` is always version 1. */
  readonly opset?: number;
}

/** TensorProto.DataType of ONNX, which is also ONNXTensorElementDataType of ONNX Runtime's C API. */
export const ONNX_DTYPE: { readonly [K in DType]: number } = { f32: 1, u8: 2, i32: 6, i64: 7, bool: 9, f64: 11, bf16: 16 };

const IR_VERSION = 10;
const DEFAULT_OPSET = 21;
const MICROSOFT = "com.microsoft";

// Field numbers of onnx.proto (ONNX 1.17).
const MODEL = { irVersion: 1, producer: 2, graph: 7, opset: 8 } as const;
const OPSET = { domain: 1, version: 2 } as const;
const GRAPH = { node: 1, name: 2, initializer: 5, input: 11, output: 12 } as const;
const NODE = { input: 1, output: 2, op: 4, attribute: 5, domain: 7 } as const;
const ATTRIBUTE = { name: 1, float: 2, int: 3, string: 4, ints: 8, type: 20 } as const;
const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, ints: 7 } as const;
const TENSOR = { dims: 1, dtype: 2, name: 8, raw: 9 } as const;
const VALUE = { name: 1, type: 2 } as const;
const TYPE = { tensor: 1, dtype: 1, shape: 2, dim: 1, dimValue: 1 } as const;

/** The model as protobuf (IR version 10). Throws ShapeError when an initializer's data does not fill its shape. */
export function encodeModel(model: OnnxModel): Uint8Array {
  const w = new WireWriter();
  w.int(MODEL.irVersion, IR_VERSION);
  w.string(MODEL.producer, "tricera");
  w.message(MODEL.graph, () => writeGraph(w, model));
  writeOpset(w, "", model.opset ?? DEFAULT_OPSET);
  writeOpset(w, MICROSOFT, 1);
  return w.finish();
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
  for (const tensor of model.initializers) w.message(GRAPH.initializer, () => writeInitializer(w, tensor));
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

function writeInitializer(w: WireWriter, { name, dtype, shape, data }: OnnxInitializer): void {
  const needed = sizeOf(shape) * DTYPE_BYTES[dtype];
  if (data.byteLength !== needed)
    throw new ShapeError(
      `Cannot encode initializer "${name}": ${formatType(dtype, shape)} takes ${needed} bytes, its data has ${data.byteLength}; pass data of that shape`,
    );
  for (const dim of shape) w.int(TENSOR.dims, dim);
  w.int(TENSOR.dtype, ONNX_DTYPE[dtype]);
  w.string(TENSOR.name, name);
  w.bytes(TENSOR.raw, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)); // ONNX is little-endian, as is every platform of Node.js
}

function writeInfo(w: WireWriter, { name, dtype, shape }: OnnxTensorInfo): void {
  w.string(VALUE.name, name);
  w.message(VALUE.type, () =>
    w.message(TYPE.tensor, () => {
      w.int(TYPE.dtype, ONNX_DTYPE[dtype]);
      w.message(TYPE.shape, () => {
        for (const dim of shape) w.message(TYPE.dim, () => w.int(TYPE.dimValue, dim));
      });
    }),
  );
}

/** Reads back what `encodeModel` writes; fields it never writes are skipped. Throws FormatError on anything else. */
export function decodeModel(bytes: Uint8Array): OnnxModel {
  let graph: Omit<OnnxModel, "opset"> | undefined;
  let opset = 0;
  for (const f of readFields(bytes)) {
    if (f.field === MODEL.graph) graph = readGraph(f.bytes);
    if (f.field === MODEL.opset) opset = readOpset(f.bytes) ?? opset;
  }
  if (graph === undefined) throw new FormatError("Cannot read ONNX model: it has no graph; it is damaged or no ONNX model");
  return { ...graph, opset };
}

/** The version of ONNX's own operator set; undefined for another domain. */
function readOpset(bytes: Uint8Array): number | undefined {
  const fields = [...readFields(bytes)];
  const domain = fields.find((f) => f.field === OPSET.domain);
  if (domain !== undefined && domain.bytes.length > 0) return undefined;
  return fields.find((f) => f.field === OPSET.version)?.number;
}

function readGraph(bytes: Uint8Array): Omit<OnnxModel, "opset"> {
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

function readDType(code: number): DType {
  const found = Object.entries(ONNX_DTYPE).find(([, value]) => value === code);
  if (found === undefined)
    throw new DTypeError(`Cannot read ONNX model: element type ${code} is not one of ours; use ${Object.keys(ONNX_DTYPE).join(", ")}`);
  return found[0] as DType; // as: the keys of ONNX_DTYPE are DTypes
}

function readInitializer(bytes: Uint8Array): OnnxInitializer {
  const fields = [...readFields(bytes)];
  const dtype = readDType(fields.find((f) => f.field === TENSOR.dtype)?.number ?? 0);
  const shape = readInts(fields, TENSOR.dims);
  const name = readText(fields.find((f) => f.field === TENSOR.name)?.bytes ?? new Uint8Array(0));
  const raw = fields.find((f) => f.field === TENSOR.raw)?.bytes ?? new Uint8Array(0);
  if (raw.length !== sizeOf(shape) * DTYPE_BYTES[dtype])
    throw new FormatError(
      `Cannot read initializer "${name}": ${formatType(dtype, shape)} has ${raw.length} bytes of data; the model is damaged`,
    );
  return { name, dtype, shape, data: typed(dtype, raw) };
}

/** An aligned copy of raw bytes as the typed array of their element type. */
function typed(dtype: DType, raw: Uint8Array): TypedArray {
  const buffer = raw.slice().buffer;
  const make: { readonly [K in DType]: () => TypedArray } = {
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
  let dtype: DType = "f32";
  let shape: number[] = [];
  for (const f of readFields(bytes)) {
    if (f.field === VALUE.name) name = readText(f.bytes);
    if (f.field !== VALUE.type) continue;
    for (const type of readFields(f.bytes))
      for (const t of readFields(type.bytes)) {
        if (t.field === TYPE.dtype) dtype = readDType(t.number);
        if (t.field === TYPE.shape)
          shape = [...readFields(t.bytes)].map((dim) => [...readFields(dim.bytes)].find((v) => v.field === TYPE.dimValue)?.number ?? -1);
      }
  }
  return { name, dtype, shape };
}
