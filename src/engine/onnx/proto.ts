/** @file ONNX models as bytes: our small description of a model to protobuf. */
import { concatBytes, type DType, DTYPE_BYTES, DTYPE_NAMES, type Shape, ShapeError, sizeOf, type TypedArray } from "../../core/index.ts";
import { ATTRIBUTE, ATTRIBUTE_TYPE, ENTRY, EXTERNAL, GRAPH, MODEL, NODE, OPSET, TENSOR, TYPE, VALUE } from "./proto-fields.ts";
import { WireWriter } from "./wire.ts";

/** The operator set of ONNX Runtime's own operators. */
export const MICROSOFT = "com.microsoft";

export interface OnnxNode {
  readonly op: string;
  readonly domain?: typeof MICROSOFT;
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
/** Bytes of a value. */
export const ONNX_BYTES: { readonly [K in OnnxDType]: number } = { ...DTYPE_BYTES, f16: 2, i8: 1 };
const NAMES: { readonly [K in OnnxDType]: string } = { ...DTYPE_NAMES, f16: "float16", i8: "int8" };

/** `float16[2,3]`. */
export function typeText(dtype: OnnxDType, shape: Shape): string {
  return `${NAMES[dtype]}[${shape.join(",")}]`;
}

const DEFAULT_OPSET = 21;

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
  return concatBytes([...modelPieces(model).pieces]);
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
  return sizeOf(shape) * ONNX_BYTES[dtype];
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
