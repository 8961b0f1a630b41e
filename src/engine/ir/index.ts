/** @file The IR room: op table, types, printer, verifier, interpreter. */
export type {
  CompareDirection,
  ConvParams,
  ElementwiseOp,
  Graph,
  GraphInput,
  GraphOutput,
  InputKind,
  Node,
  OpName,
  OpParams,
  OutputKind,
  Pair,
  ReduceOp,
  ShapeOp,
  SpatialOp,
  Value,
  ValueType,
  WindowParams,
} from "./types.ts";
export { isOp } from "./types.ts";
export { INFER, inferTypes } from "./infer/index.ts";
export { checkShape, isFloat } from "./infer/rule.ts";
export { numbersOf, valuesKey } from "./numbers.ts";
export { printGraph, printNode } from "./print.ts";
export { verifyGraph } from "./verify.ts";
export { EVAL, evalNode, interpret } from "./interpret/index.ts";
export type { Cell } from "./interpret/rule.ts";
