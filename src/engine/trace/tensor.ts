/** @file A symbolic tensor: a value of the graph under construction. It holds no data. */
import { type DType, formatType, type Shape } from "../../core/index.ts";
import type { Value } from "../ir/index.ts";
import type { Builder } from "./builder.ts";

export class Tensor {
  readonly builder: Builder;
  readonly value: Value;
  constructor(builder: Builder, value: Value) {
    this.builder = builder;
    this.value = value;
  }
  get shape(): Shape {
    return this.value.shape;
  }
  get dtype(): DType {
    return this.value.dtype;
  }
  /** `float32[2,3]`. */
  toString(): string {
    return formatType(this.dtype, this.shape);
  }
}
