/** @file The vocabulary of Tricera: types, errors, randomness, progress. Imports nothing, does no I/O. */
export {
  ConfigError,
  DTypeError,
  FormatError,
  InternalError,
  nameHint,
  nearestName,
  PlatformError,
  ShapeError,
  UsageError,
} from "./errors.ts";
export { DTYPE_BYTES, DTYPE_NAMES, f32, formatType, sameShape, sizeOf, stridesOf } from "./dtype.ts";
export type { DType, HostTensor, Shape, TypedArray } from "./dtype.ts";
export { concatBytes } from "./bytes.ts";
export { jacobiEigen, topEigen } from "./eigen.ts";
export type { Eigen } from "./eigen.ts";
export { Owned } from "./owned.ts";
export { philox4x32, Rng } from "./rng.ts";
export type { JobOptions, OnProgress, Progress } from "./progress.ts";
