/** @file Runs a case of an op in the interpreter, by central differences, and on a device. */
import { type DType, InternalError, type TypedArray } from "../../core/index.ts";
import { gradients } from "../grad/index.ts";
import { type Cell, type Graph, interpret, isFloat, numbersOf, type OpName } from "../ir/index.ts";
import { optimize } from "../passes/index.ts";
import type { Device } from "../runtime/index.ts";
import { add, Builder, mul, sumAll, type Tensor } from "../trace/index.ts";
import type { CaseInput, OpCase } from "./op-case.ts";

interface Traced {
  readonly builder: Builder;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** The op of a case in a graph of its own; floats can be made float64, for central differences. */
export function traceCase<K extends OpName>(op: K, { inputs, params }: OpCase<K>, float: DType = "f32"): Traced {
  const builder = new Builder();
  const tensors = inputs.map((x, i) => builder.input(`x${i}`, x.shape, { dtype: x.dtype === "f32" ? float : x.dtype }));
  return { builder, inputs: tensors, outputs: builder.node(op, tensors, params) };
}

/** The graph whose outputs are the op's, `y0`, `y1`, …; not optimized, so that nothing of it is dropped. */
export function valueGraph<K extends OpName>(op: K, one: OpCase<K>): Graph {
  const { builder, outputs } = traceCase(op, one);
  outputs.forEach((y, i) => builder.output(`y${i}`, y));
  return builder.graph();
}

/** Weights that no symmetry of an op can hide: 0.3, 1.3, −0.7, 0.3, … by an odd period. */
function weightsFor(builder: Builder, y: Tensor): Tensor {
  const length = y.shape.reduce((a, b) => a * b, 1);
  const at = (i: number): number => [0.3, 1.3, -0.7, 0.9, -0.4][i % 5] ?? 0;
  const data = y.dtype === "f64" ? Float64Array.from({ length }, (_, i) => at(i)) : Float32Array.from({ length }, (_, i) => at(i));
  return builder.op("constant", [], { dtype: y.dtype, shape: y.shape, data });
}

/** Σ of the op's differentiable outputs by fixed weights. */
function weightedSum({ builder, outputs }: Traced, which: readonly number[] | undefined): Tensor {
  const terms = outputs
    .filter((y, i) => isFloat(y.dtype) && (which === undefined || which.includes(i)))
    .map((y) => sumAll(mul(y, weightsFor(builder, y))));
  const [first, ...rest] = terms;
  if (first === undefined) throw new InternalError("Cannot differentiate the case: no output is a float; leave its gradient out");
  return rest.reduce((a, b) => add(a, b), first);
}

/** Positions of the inputs that a gradient is taken of. */
export function floatInputs(inputs: readonly CaseInput[]): number[] {
  return inputs.flatMap((x, i) => (isFloat(x.dtype) ? [i] : []));
}

/** The graph of the weighted sum, `loss`, and its gradients `g<i>` by the inputs `wrt`. */
export function gradientGraph<K extends OpName>(
  op: K,
  one: OpCase<K>,
  { float = "f32", wrt = floatInputs(one.inputs) }: { readonly float?: DType; readonly wrt?: readonly number[] } = {},
): Graph {
  const traced = traceCase(op, one, float);
  const loss = weightedSum(traced, one.differentiable);
  const grads = gradients(
    loss,
    wrt.map((i) => traced.inputs[i]!), // positions of inputs
  );
  traced.builder.output("loss", loss);
  grads.forEach((g, i) => g !== undefined && traced.builder.output(`g${wrt[i]}`, g));
  return traced.builder.graph();
}

/** The inputs as the interpreter takes them. */
export function cellsOf(inputs: readonly CaseInput[]): Map<string, Cell> {
  return new Map(inputs.map((x, i) => [`x${i}`, { shape: x.shape, data: Float64Array.from(x.data) }]));
}

/** Runs the interpreter and gives the outputs' numbers by name. */
export function interpretCase(graph: Graph, inputs: readonly CaseInput[]): Map<string, Float64Array> {
  return new Map([...interpret(graph, cellsOf(inputs))].map(([name, cell]) => [name, cell.data]));
}

/** ∂loss/∂x of input i by central differences: (f(x + h) − f(x − h)) / 2h. */
export function centralDifferences(graph: Graph, inputs: readonly CaseInput[], i: number): Float64Array {
  const step = 1e-5;
  const at = (j: number, by: number): number => {
    const moved = inputs.map((x, k) => (k === i ? { ...x, data: x.data.with(j, (x.data[j] ?? NaN) + by) } : x));
    return interpretCase(graph, moved).get("loss")?.[0] ?? NaN;
  };
  return Float64Array.from(inputs[i]?.data ?? [], (_, j) => (at(j, step) - at(j, -step)) / (2 * step));
}

/** bfloat16 is the upper half of a float32. */
function fromBf16(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0] ?? NaN;
}

function fillView(view: TypedArray, { dtype, data }: CaseInput): void {
  if (view instanceof BigInt64Array) view.set(data.map((x) => BigInt(x)));
  else if (dtype === "bf16") throw new InternalError("Cannot fill a bfloat16 input: cases cast to it instead");
  else view.set(data);
}

/** Runs the graph on a device and gives the outputs' numbers by name. */
export async function runCase(device: Device, graph: Graph, inputs: readonly CaseInput[]): Promise<Map<string, number[]>> {
  using program = device.compile(graph);
  inputs.forEach((x, i) => {
    const view = program.inputs.get(`x${i}`);
    if (view !== undefined) fillView(view, x);
  });
  await program.run();
  return new Map(
    graph.outputs.map(({ name, value }) => {
      const view = program.outputs.get(name) ?? new Float32Array(0);
      const numbers = numbersOf(view);
      return [name, value.dtype === "bf16" ? numbers.map(fromBf16) : numbers];
    }),
  );
}

/** The same after every pass. */
export function runOptimized(device: Device, graph: Graph, inputs: readonly CaseInput[]): Promise<Map<string, number[]>> {
  return runCase(device, optimize(graph), inputs);
}
