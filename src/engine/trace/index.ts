/** @file The tracer: symbolic tensors and the functions on them. All that models, objectives and optimizers see of the engine. */
export { Builder } from "./builder.ts";
export { dims } from "./dims.ts";
export * from "./ops.ts";
export * from "./spatial.ts";
export { Tensor } from "./tensor.ts";
