/** @file The total table of shape rules. */
import type { OpName, OpParams, ValueType } from "../types.ts";
import { ELEMENTWISE } from "./elementwise.ts";
import { REDUCTIONS } from "./reduce.ts";
import type { InferRule } from "./rule.ts";
import { SHAPE_OPS } from "./shape-ops.ts";
import { SPATIAL } from "./spatial.ts";

export const INFER: { readonly [K in OpName]: InferRule<K> } = { ...ELEMENTWISE, ...SHAPE_OPS, ...REDUCTIONS, ...SPATIAL };

/** Types of an op's outputs; throws ShapeError or DTypeError where inputs do not fit. */
export function inferTypes<K extends OpName>(op: K, inputs: readonly ValueType[], params: OpParams[K]): readonly ValueType[] {
  const rule: InferRule<K> = INFER[op];
  return rule(inputs, params);
}
