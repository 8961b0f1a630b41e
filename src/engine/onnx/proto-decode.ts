/** @file The models that `encodeModel` writes, read back: for tests and printing. */
import { DTypeError, FormatError, sizeOf, type TypedArray } from "../../core/index.ts";
import {
  MICROSOFT,
  ONNX_BYTES,
  ONNX_DTYPE,
  type OnnxAttr,
  type OnnxDType,
  type OnnxInitializer,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensorInfo,
  typeText,
} from "./proto.ts";
import { ATTRIBUTE, ATTRIBUTE_TYPE, ENTRY, GRAPH, MODEL, NODE, OPSET, TENSOR, TYPE, VALUE } from "./proto-fields.ts";
import { readFields, readInts, readText } from "./wire.ts";

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
  if (raw.length !== sizeOf(shape) * ONNX_BYTES[dtype])
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
