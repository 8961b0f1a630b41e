/** @file The slow twin of the fused kernel: one optimizer step in float64, parameter by parameter, element by element. */
import { adamw, adamwScalars } from "./adamw.ts";
import { clipCoefficients } from "./clip.ts";
import { momentumScalars, type OptimizerConfig, type ParamStep, type StepOptions } from "./config.ts";
import { ema } from "./ema.ts";
import { F64_OPS } from "./ops.ts";
import type { ParamGroup } from "./param-groups.ts";
import { momentumUpdate } from "./sgd.ts";

/** One parameter with all its state; `t` counts its updates. */
export interface ReferenceParam {
  readonly name: string;
  readonly shape: readonly number[];
  readonly group: ParamGroup;
  readonly param: Float64Array;
  readonly grad: Float64Array;
  readonly mean: Float64Array;
  readonly square: Float64Array;
  readonly teacher?: Float64Array;
  t: number;
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, x, i) => sum + x * b[i]!, 0); // a and b are of one parameter
}

function updateParam(config: OptimizerConfig, x: ReferenceParam, step: ParamStep): void {
  const { param, grad, mean, square } = x;
  for (let i = 0; i < param.length; i++) {
    const element = { param: param[i]!, grad: grad[i]!, mean: mean[i]!, square: square[i]! }; // i < length of all four
    if (config.kind === "adamw") {
      const next = adamw(F64_OPS, element, adamwScalars(config, step));
      [param[i], mean[i], square[i]] = [next.param, next.mean, next.square];
    } else {
      const next = momentumUpdate(F64_OPS, element, momentumScalars(config, step));
      [param[i], mean[i]] = [next.param, next.mean];
    }
  }
}

/** Clip, update, average: changes the arrays in place. Returns the norm of every gradient (0 where dropped). */
export function referenceStep(config: OptimizerConfig, params: readonly ReferenceParam[], options: StepOptions): number[] {
  const isDropped = (x: ReferenceParam): boolean => x.group.frozen || (options.frozenNow?.has(x.name) ?? false);
  const squares = params.map((x) => (isDropped(x) ? 0 : dot(x.grad, x.grad)));
  const modules = params.map((x) => x.group.module);
  const clips = clipCoefficients(options.clip, squares, modules);
  for (const [i, x] of params.entries()) {
    if (!isDropped(x)) {
      x.t++;
      updateParam(config, x, {
        clip: clips[i] ?? 1,
        lr: options.restingNow?.has(x.name) === true ? 0 : options.lr * x.group.lrScale,
        weightDecay: x.group.weightDecay ? options.weightDecay : 0,
        t: x.t,
        oneDim: x.shape.length === 1,
        sums: { gradGrad: squares[i] ?? 0, paramParam: dot(x.param, x.param), gradParam: dot(x.grad, x.param) },
      });
    }
    const { teacher, param } = x;
    if (teacher !== undefined && options.emaMomentum !== undefined)
      for (let j = 0; j < teacher.length; j++)
        teacher[j] = ema(F64_OPS, { teacher: teacher[j]!, param: param[j]! }, 1 - options.emaMomentum); // j < both lengths
  }
  return squares.map(Math.sqrt);
}
