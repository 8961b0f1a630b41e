/** @file The model under construction: canonical names, shared constants, dead nodes dropped at the end. */
import { InternalError, type DType, type Shape, type TypedArray } from "../../../core/index.ts";
import { type Node, type OpName, type Value, valuesKey } from "../../ir/index.ts";
import type { OnnxAttr, OnnxInitializer, OnnxNode } from "../proto.ts";

/** Where the model will run; the bytes may differ, the graph does not. `onnx` is anywhere: ONNX's own operators only. */
export type OnnxTarget = "ort-cpu" | "ort-web" | "onnx";

export interface EmitOptions {
  readonly attrs?: Readonly<Record<string, OnnxAttr>>;
  readonly domain?: "com.microsoft";
  readonly outputs?: number;
}

/** Initializers of more values are not compared. */
const COMPARED_VALUES = 64;

/** Names are given in order of first use, so equal stages get equal bytes and share a session. */
export class Lowering {
  readonly target: OnnxTarget;
  readonly nodes: OnnxNode[] = [];
  readonly initializers: Map<string, OnnxInitializer> = new Map<string, OnnxInitializer>();
  readonly #names = new Map<number, string>();
  readonly #constants = new Map<string, string>();
  #next = 0;

  constructor(target: OnnxTarget) {
    this.target = target;
  }

  bind(value: Value, name: string): void {
    this.#names.set(value.id, name);
  }

  name(value: Value): string {
    const name = this.#names.get(value.id);
    if (name === undefined) throw new InternalError(`Cannot lower: %${value.id} has no name yet`);
    return name;
  }

  has(value: Value): boolean {
    return this.#names.has(value.id);
  }

  fresh(): string {
    return `t${this.#next++}`;
  }

  /** Adds an ONNX node with several outputs. */
  emitAll(op: string, inputs: readonly string[], { attrs, domain, outputs = 1 }: EmitOptions = {}): string[] {
    const names = Array.from({ length: outputs }, () => this.fresh());
    this.nodes.push({ op, inputs, outputs: names, ...(attrs === undefined ? {} : { attrs }), ...(domain === undefined ? {} : { domain }) });
    return names;
  }

  /** Adds an ONNX node with one output. */
  emit(op: string, inputs: readonly string[], options: EmitOptions = {}): string {
    return this.emitAll(op, inputs, options)[0] ?? "";
  }

  /** An initializer; equal ones are shared. */
  constant(dtype: DType, shape: Shape, data: TypedArray): string {
    const values = data.length <= COMPARED_VALUES ? valuesKey(data) : `#${this.initializers.size}`;
    const key = `${dtype}[${shape.join(",")}]${values}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = `c${this.initializers.size}`;
    this.initializers.set(name, { name, dtype, shape, data });
    this.#constants.set(key, name);
    return name;
  }

  /** An initializer under a name of its own; the name. */
  initializer(tensor: OnnxInitializer): string {
    this.initializers.set(tensor.name, tensor);
    return tensor.name;
  }

  f32(x: number): string {
    return this.constant("f32", [], Float32Array.of(x));
  }

  i64(xs: readonly number[]): string {
    return this.constant("i64", [xs.length], BigInt64Array.from(xs, BigInt));
  }
}

/** Lowers one node: emits ONNX nodes and gives the names of the node's outputs. */
export type LowerRule<K extends OpName> = (node: Node<K>, to: Lowering) => readonly string[];
export type LowerTable<Names extends OpName> = { readonly [K in Names]: LowerRule<K> };

/** Name and value of input i. */
export function arg(node: Node, i: number): Value {
  const v = node.inputs[i];
  if (v === undefined) throw new InternalError(`Cannot lower ${node.op}: it has no input ${i}`);
  return v;
}
