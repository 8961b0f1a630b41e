/** @file Runs an objective in the float64 interpreter or on the CPU device, for tests. */
import { type HostTensor, InternalError } from "../../core/index.ts";
import { gradients } from "../../engine/grad/index.ts";
import { type Cell, interpret, numbersOf } from "../../engine/ir/index.ts";
import { runGraph } from "../../engine/testing/run-graph.ts";
import { Builder, type Tensor } from "../../engine/trace/index.ts";

export type Values = Readonly<Record<string, HostTensor | ArrayLike<number>>>;
export type Runner = "interpreter" | "cpu";
export const RUNNERS: readonly Runner[] = ["interpreter", "cpu"];

/** What an objective is made of: inputs by name, made with the shape they are asked for. */
export interface Tracer {
  readonly builder: Builder;
  readonly input: (name: string, shape: readonly number[]) => Tensor;
}

export interface Outcome {
  /** The numbers of an output. */
  readonly get: (name: string) => ArrayLike<number>;
}

/** Traces `fn`, whose result names the outputs, and the gradients `g.<input>` of `loss` by the inputs `wrt`; then runs it on values. */
export async function runObjective(
  fn: (tracer: Tracer) => Readonly<Record<string, Tensor>>,
  { values, wrt = [], runner = "interpreter" }: { readonly values: Values; readonly wrt?: readonly string[]; readonly runner?: Runner },
): Promise<Outcome> {
  const builder = new Builder();
  const inputs = new Map<string, Tensor>();
  const outputs = fn({
    builder,
    input: (name, shape) => {
      const made = inputs.get(name) ?? builder.input(name, shape);
      inputs.set(name, made);
      return made;
    },
  });
  for (const [name, tensor] of Object.entries(outputs)) builder.output(name, tensor);
  if (wrt.length > 0) outputGradients(builder, outputs["loss"], { inputs, wrt });
  const results = runner === "cpu" ? await runGraph(builder, new Map(Object.entries(values))) : interpretBuilder(builder, values);
  return {
    get: (name) => {
      const numbers = results.get(name);
      if (numbers === undefined) throw new InternalError(`Cannot read output "${name}": there is ${[...results.keys()].join(", ")}`);
      return numbers;
    },
  };
}

function outputGradients(
  builder: Builder,
  loss: Tensor | undefined,
  { inputs, wrt }: { readonly inputs: ReadonlyMap<string, Tensor>; readonly wrt: readonly string[] },
): void {
  if (loss === undefined) throw new InternalError('Cannot differentiate: there is no output "loss"');
  const sources = wrt.map((name) => inputs.get(name) ?? builder.input(name, []));
  gradients(loss, sources).forEach((g, i) => g !== undefined && builder.output(`g.${wrt[i]}`, g));
}

/** Every value in float64. */
function interpretBuilder(builder: Builder, values: Values): Map<string, ArrayLike<number>> {
  const graph = builder.graph();
  const cells = new Map<string, Cell>();
  for (const { name, value } of graph.inputs) {
    const given = values[name];
    if (given === undefined) throw new InternalError(`Cannot interpret the objective: input "${name}" has no value`);
    cells.set(name, { shape: value.shape, data: Float64Array.from("data" in given ? numbersOf(given.data) : given) });
  }
  return new Map([...interpret(graph, cells)].map(([name, cell]) => [name, cell.data]));
}

/** ∂loss/∂(value of input `name` at `at`) by central differences in float64. */
export async function centralDifference(
  fn: (tracer: Tracer) => Readonly<Record<string, Tensor>>,
  { values, name, at }: { readonly values: Readonly<Record<string, ArrayLike<number>>>; readonly name: string; readonly at: number },
): Promise<number> {
  const step = 1e-5;
  const moved = async (by: number): Promise<number> => {
    const data = Float64Array.from(values[name] ?? []);
    data[at] = (data[at] ?? Number.NaN) + by;
    return (await runObjective(fn, { values: { ...values, [name]: data } })).get("loss")[0] ?? Number.NaN;
  };
  return ((await moved(step)) - (await moved(-step))) / (2 * step);
}
