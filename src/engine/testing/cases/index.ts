/** @file The total table of cases: adding an op without its cases does not compile. */
import type { OpName } from "../../ir/index.ts";
import type { OpCases } from "../op-case.ts";
import { COMPOSITE_CASES } from "./composites.ts";
import { CONTRACTION_CASES } from "./contractions.ts";
import { ELEMENTWISE_CASES } from "./elementwise.ts";
import { SHAPE_CASES } from "./shape-ops.ts";
import { SPATIAL_CASES } from "./spatial.ts";

export const OP_CASES: { readonly [K in OpName]: OpCases<K> } = {
  ...ELEMENTWISE_CASES,
  ...SHAPE_CASES,
  ...CONTRACTION_CASES,
  ...COMPOSITE_CASES,
  ...SPATIAL_CASES,
};
