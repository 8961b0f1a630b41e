/** @file The graph under construction: tracing adds nodes here, in order, each marked with the current region. */
import { type DType, InternalError, sameShape, type Shape, ShapeError } from "../../core/index.ts";
import {
  checkShape,
  type Graph,
  type GraphInput,
  type GraphOutput,
  type InputKind,
  inferTypes,
  type Node,
  type OpName,
  type OpParams,
  type OutputKind,
  type Value,
  verifyGraph,
} from "../ir/index.ts";
import { Tensor } from "./tensor.ts";

/** Collects nodes, inputs and outputs of one graph. */
export class Builder {
  readonly nodes: Node[] = [];
  readonly #inputs: GraphInput[] = [];
  readonly #outputs: GraphOutput[] = [];
  #nextId = 0;
  #region = "";

  get region(): string {
    return this.#region;
  }

  /** Adds a node and gives its outputs; shapes and dtypes are inferred and checked here, at trace time. */
  node<K extends OpName>(op: K, inputs: readonly Tensor[], params: OpParams[K]): Tensor[] {
    for (const t of inputs)
      if (t.builder !== this)
        throw new InternalError(`Cannot ${op} ${inputs.map(String).join(", ")}: one is of another trace; build one graph with one Builder`);
    const outputs = inferTypes(op, inputs, params).map((t) =>
      Object.freeze({ id: this.#nextId++, dtype: t.dtype, shape: Object.freeze([...t.shape]) }),
    );
    this.nodes.push(Object.freeze({ op, inputs: inputs.map((t) => t.value), outputs, params, region: this.#region }));
    return outputs.map((v) => new Tensor(this, v));
  }

  /** The single output of an op. */
  op<K extends OpName>(op: K, inputs: readonly Tensor[], params: OpParams[K]): Tensor {
    const [out] = this.node(op, inputs, params);
    if (out === undefined) throw new InternalError(`Cannot ${op}: it has no output`);
    return out;
  }

  /** A named input: a parameter, a piece of state, or data of the step. */
  input(name: string, shape: Shape, options: { readonly kind?: InputKind; readonly dtype?: DType } = {}): Tensor {
    const { kind = "input", dtype = "f32" } = options;
    if (this.#inputs.some((i) => i.name === name))
      throw new InternalError(`Cannot add input "${name}": the name is taken; give each input its own`);
    checkShape(`add input "${name}"`, { dtype, shape });
    const value: Value = Object.freeze({ id: this.#nextId++, dtype, shape: Object.freeze([...shape]) });
    this.#inputs.push({ name, kind, value });
    return new Tensor(this, value);
  }

  /** The input of that name where it is there already, else a new one: several readers of one value. Throws where shapes differ. */
  sharedInput(name: string, shape: Shape, options: { readonly kind?: InputKind; readonly dtype?: DType } = {}): Tensor {
    const there = this.#inputs.find((i) => i.name === name);
    if (there === undefined) return this.input(name, shape, options);
    if (!sameShape(there.value.shape, shape))
      throw new ShapeError(
        `Cannot share input "${name}": it is [${there.value.shape.join(", ")}] and wanted as [${shape.join(", ")}]; ask for one shape`,
      );
    return new Tensor(this, there.value);
  }

  output(name: string, tensor: Tensor, kind: OutputKind = "output"): void {
    if (tensor.builder !== this)
      throw new InternalError(`Cannot add output "${name}": it is of another trace; build one graph with one Builder`);
    if (this.#outputs.some((o) => o.name === name))
      throw new InternalError(`Cannot add output "${name}": the name is taken; give each output its own`);
    this.#outputs.push({ name, kind, value: tensor.value });
  }

  /** Runs `fn` with nodes marked `name` (joined to an outer region by `/`). */
  inRegion<T>(name: string, fn: () => T, options: { readonly absolute?: boolean } = {}): T {
    const outer = this.#region;
    this.#region = options.absolute === true || outer === "" ? name : `${outer}/${name}`;
    try {
      return fn();
    } finally {
      this.#region = outer;
    }
  }

  graph(): Graph {
    return verifyGraph({ inputs: this.#inputs, nodes: this.nodes, outputs: this.#outputs });
  }
}
