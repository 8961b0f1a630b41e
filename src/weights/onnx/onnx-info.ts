/** @file What an ONNX file says of itself: inputs, outputs, weights, where those lie, and what is written beside. No weight is read. */
import { FormatError } from "../../core/index.ts";
import { FIELDS, readFields, readInts, readText, type WireField } from "../../engine/onnx/index.ts";
import { type ElementType, elementBytes, elementType } from "./element-types.ts";
import { externalOf, type ExternalPart } from "./external-part.ts";
import { allOf, lastOf, readEntry, textOf } from "./fields.ts";

/** An input or output. */
export interface OnnxPort {
  readonly name: string;
  /** Undefined for what is no tensor. */
  readonly dtype: ElementType | undefined;
  /** A text is the name of a size that is open, "" one without a name; undefined where not even the number of axes is said. */
  readonly shape: readonly (number | string)[] | undefined;
}

/** The convolution that sees the pictures. */
export interface FirstConvolution {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
}

export interface OnnxInfo {
  readonly path: string;
  readonly irVersion: number;
  /** The program that wrote it, as it names itself, with its version. */
  readonly producer: string;
  /** Version of ONNX's own operator set; undefined where none is named. */
  readonly opset: number | undefined;
  /** Other operator sets, such as `com.microsoft`. */
  readonly domains: readonly string[];
  readonly metadata: ReadonlyMap<string, string>;
  /** What has to be given: without weights that older files list among the inputs. */
  readonly inputs: readonly OnnxPort[];
  readonly outputs: readonly OnnxPort[];
  /** Weights: how many numbers of each type. */
  readonly weights: ReadonlyMap<ElementType, number>;
  readonly weightBytes: number;
  /** Weights that lie in other files. */
  readonly external: readonly ExternalPart[];
  readonly convolution: FirstConvolution | undefined;
}

const { ATTRIBUTE, FUNCTION, GRAPH, MODEL, NODE, OPSET, SPARSE, TENSOR, TYPE, VALUE } = FIELDS;

/** Graphs inside of attributes inside of graphs: more than this is no file that anyone writes. */
const MAX_DEPTH = 16;

/**
 * Reads what a file says, from its bytes. Throws FormatError for what is no ONNX model: cut off, damaged, something else.
 */
export function readOnnxInfo(bytes: Uint8Array, path: string): OnnxInfo {
  try {
    return readModel(bytes, path);
  } catch (cause) {
    if (!(cause instanceof FormatError) || cause.file === path) throw cause;
    const why = cause.message.replace(/^[^:]*: /, "").replace(/;[^;]*$/, "");
    throw new FormatError(`Cannot open "${path}": it is damaged or no ONNX model (${why}); export or download it again`, {
      file: path,
      cause,
    });
  }
}

function fail(path: string, state: string): never {
  throw new FormatError(`Cannot open "${path}": ${state}; export or download it again`, { file: path });
}

function readModel(bytes: Uint8Array, path: string): OnnxInfo {
  const fields = [...readFields(bytes)];
  const graphs = allOf(fields, MODEL.graph).map((f) => f.bytes);
  if (graphs.length === 0) fail(path, "it has no graph, so it is damaged or no ONNX model");
  const functions = allOf(fields, MODEL.functions).flatMap((f) => allOf([...readFields(f.bytes)], FUNCTION.node));
  const sets = allOf(fields, MODEL.opset).map(readOpset);
  const producer = [textOf(fields, MODEL.producer), textOf(fields, MODEL.producerVersion)].filter((word) => word !== "").join(" ");
  return {
    path,
    irVersion: lastOf(fields, MODEL.irVersion)?.number ?? 0,
    producer,
    opset: sets.find(({ domain }) => domain === "" || domain === "ai.onnx")?.version,
    domains: sets.flatMap(({ domain }) => (domain === "" || domain === "ai.onnx" ? [] : [domain])),
    metadata: new Map(allOf(fields, MODEL.metadata).map(readEntry)),
    // parts of one graph are joined, as protobuf does
    ...withFunctions(
      readGraph(graphs.length === 1 ? (graphs[0] ?? new Uint8Array(0)) : Buffer.concat(graphs), path),
      functions.flatMap((node) => tensorsOfNode(node.bytes, { path, depth: 0 })),
    ),
  };
}

function readOpset({ bytes }: WireField): { readonly domain: string; readonly version: number } {
  const fields = [...readFields(bytes)];
  return { domain: textOf(fields, OPSET.domain), version: lastOf(fields, OPSET.version)?.number ?? 0 };
}

function withFunctions(graph: GraphInfo, inside: readonly TensorInfo[]): GraphInfo {
  return { ...graph, external: [...graph.external, ...inside.flatMap(({ external }) => external ?? [])] };
}

type GraphInfo = Pick<OnnxInfo, "inputs" | "outputs" | "weights" | "weightBytes" | "external" | "convolution">;

function readGraph(bytes: Uint8Array, path: string): GraphInfo {
  const fields = [...readFields(bytes)];
  const tensors = allOf(fields, GRAPH.initializer).map((f) => readTensor(f.bytes, path));
  const known = new Set(tensors.map(({ name }) => name));
  const inputs = allOf(fields, GRAPH.input)
    .map((f) => readPort(f.bytes))
    .filter(({ name }) => !known.has(name));
  const nodes = allOf(fields, GRAPH.node).map((f) => f.bytes);
  const inside = [
    ...nodes.flatMap((node) => tensorsOfNode(node, { path, depth: 0 })),
    ...allOf(fields, GRAPH.sparse).flatMap((f) => tensorsOfSparse(f.bytes, path)),
  ];
  return {
    inputs,
    outputs: allOf(fields, GRAPH.output).map((f) => readPort(f.bytes)),
    ...weightsOf(tensors, path),
    external: [...tensors, ...inside].flatMap(({ external }) => external ?? []),
    convolution: convolutionOf(nodes, inputs[0]?.name),
  };
}

interface TensorInfo {
  readonly name: string;
  readonly dtype: ElementType;
  readonly count: number;
  readonly external: ExternalPart | undefined;
}

function readTensor(bytes: Uint8Array, path: string): TensorInfo {
  const fields = [...readFields(bytes)];
  const name = textOf(fields, TENSOR.name);
  const dims = readInts(fields, TENSOR.dims);
  const count = dims.reduce((n, dim) => n * dim, 1);
  if (!dims.every((dim) => dim >= 0) || !Number.isSafeInteger(count)) fail(path, `its weight "${name}" has the shape [${dims.join(", ")}]`);
  const dtype = elementType(lastOf(fields, TENSOR.dtype)?.number ?? 0);
  return { name, dtype, count, external: externalOf(fields, { name, path, bytes: elementBytes(dtype, count) }) };
}

function weightsOf(tensors: readonly TensorInfo[], path: string): Pick<OnnxInfo, "weights" | "weightBytes"> {
  const weights = new Map<ElementType, number>();
  let weightBytes = 0;
  for (const { dtype, count } of tensors) {
    weights.set(dtype, (weights.get(dtype) ?? 0) + count);
    weightBytes += elementBytes(dtype, count) ?? 0;
  }
  if (!Number.isSafeInteger(weightBytes)) fail(path, "its weights are more than there can be");
  return { weights, weightBytes };
}

/** Where a node is: the model's file, and how many graphs deep. */
interface Inside {
  readonly path: string;
  readonly depth: number;
}

/** Tensors that are written in a node: constants, and those of graphs in its attributes. */
function tensorsOfNode(bytes: Uint8Array, { path, depth }: Inside): readonly TensorInfo[] {
  if (depth > MAX_DEPTH) fail(path, `its graphs lie ${depth} deep in each other`);
  return allOf([...readFields(bytes)], NODE.attribute).flatMap((attribute) => {
    const fields = [...readFields(attribute.bytes)];
    const graphs = [...allOf(fields, ATTRIBUTE.graph), ...allOf(fields, ATTRIBUTE.graphs)];
    return [
      ...[...allOf(fields, ATTRIBUTE.tensor), ...allOf(fields, ATTRIBUTE.tensors)].map((f) => readTensor(f.bytes, path)),
      ...[...allOf(fields, ATTRIBUTE.sparse), ...allOf(fields, ATTRIBUTE.sparses)].flatMap((f) => tensorsOfSparse(f.bytes, path)),
      ...graphs.flatMap((graph) => tensorsOfGraph(graph.bytes, { path, depth: depth + 1 })),
    ];
  });
}

function tensorsOfSparse(bytes: Uint8Array, path: string): readonly TensorInfo[] {
  const fields = [...readFields(bytes)];
  return [...allOf(fields, SPARSE.values), ...allOf(fields, SPARSE.indices)].map((f) => readTensor(f.bytes, path));
}

function tensorsOfGraph(bytes: Uint8Array, inside: Inside): readonly TensorInfo[] {
  const fields = [...readFields(bytes)];
  return [
    ...allOf(fields, GRAPH.initializer).map((f) => readTensor(f.bytes, inside.path)),
    ...allOf(fields, GRAPH.sparse).flatMap((f) => tensorsOfSparse(f.bytes, inside.path)),
    ...allOf(fields, GRAPH.node).flatMap((f) => tensorsOfNode(f.bytes, inside)),
  ];
}

function readPort(bytes: Uint8Array): OnnxPort {
  const fields = [...readFields(bytes)];
  const name = textOf(fields, VALUE.name);
  const type = lastOf(fields, VALUE.type);
  const tensor = type === undefined ? undefined : lastOf([...readFields(type.bytes)], TYPE.tensor);
  if (tensor === undefined) return { name, dtype: undefined, shape: undefined };
  const said = [...readFields(tensor.bytes)];
  const shape = lastOf(said, TYPE.shape);
  const dims = shape === undefined ? undefined : [...readFields(shape.bytes)].map((dim) => readDim(dim.bytes));
  return { name, dtype: elementType(lastOf(said, TYPE.dtype)?.number ?? 0), shape: dims };
}

/** A fixed size, or the name of one that is open; a size below 1 is open, too. */
function readDim(bytes: Uint8Array): number | string {
  const fields = [...readFields(bytes)];
  const value = lastOf(fields, TYPE.dimValue)?.number;
  return value !== undefined && value > 0 ? value : textOf(fields, TYPE.dimName);
}

/** What hands its input on. */
const HANDING_ON: ReadonlySet<string> = new Set(["Cast", "Identity"]);

/** Kernel and strides of the convolution whose input is the model's. */
function convolutionOf(nodes: readonly Uint8Array[], input: string | undefined): FirstConvolution | undefined {
  const pictures = new Set(input === undefined ? [] : [input]);
  for (const node of nodes) {
    const fields = [...readFields(node)];
    const op = textOf(fields, NODE.op);
    const from = fields.find((f) => f.field === NODE.input);
    if (from === undefined || !pictures.has(readText(from.bytes))) continue;
    if (HANDING_ON.has(op)) pictures.add(textOf(fields, NODE.output));
    if (op !== "Conv") continue;
    const ints = new Map(allOf(fields, NODE.attribute).map(({ bytes }) => intsOf(bytes)));
    return { kernel: ints.get("kernel_shape") ?? [], strides: ints.get("strides") ?? [] };
  }
  return undefined;
}

function intsOf(bytes: Uint8Array): readonly [name: string, values: readonly number[]] {
  const fields = [...readFields(bytes)];
  return [textOf(fields, ATTRIBUTE.name), readInts(fields, ATTRIBUTE.ints)];
}
