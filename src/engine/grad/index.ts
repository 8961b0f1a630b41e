/** @file Reverse-mode differentiation: one VJP rule per op, and the backward walk. */
export { type BackwardOptions, gradients, VJP } from "./backward.ts";
export { NO_GRADIENT, NOT_TWICE } from "./rules/rule.ts";
