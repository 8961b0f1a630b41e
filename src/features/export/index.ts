/** @file Exports: models as files and folders that others run. */
export type { CheckResult } from "./check.ts";
export type { Difference } from "./compare.ts";
export { exportModel, type ExportResult, type NamedShapes } from "./export-model.ts";
export type { ExportFormat, ExportOptions } from "./options.ts";
export { OUTPUT_NAMES, type OutputName } from "./outputs.ts";
export type { WeightDType } from "./stored-weights.ts";
