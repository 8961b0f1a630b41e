/** @file Arrays of ours as tensors of onnxruntime-web; weights are made once, on WebGPU they stay on the device. */
import type { Tensor } from "onnxruntime-web";
import { type DType, DTypeError, formatType, type TypedArray } from "../../../core/index.ts";
import type { Value } from "../../ir/index.ts";
import type { OrtWeb } from "./ort-web.ts";

type TensorType = "float32" | "float64" | "int32" | "int64" | "bool" | "uint8";

const TYPES: { readonly [K in DType]: TensorType | undefined } = {
  f32: "float32",
  f64: "float64",
  i32: "int32",
  i64: "int64",
  bool: "bool",
  u8: "uint8",
  bf16: undefined, // onnxruntime-web has no tensors of it
};

/** The tensors of one device. */
export class WebTensors {
  readonly #ort: OrtWeb;
  #kept = new WeakMap<TypedArray, Tensor>();

  constructor(ort: OrtWeb) {
    this.#ort = ort;
  }

  /** A tensor over an array, read in place; a kept one is made once. Throws DTypeError for bfloat16. */
  of(data: TypedArray, { dtype, shape }: Value, { isKept }: { readonly isKept: boolean }): Tensor {
    const known = isKept ? this.#kept.get(data) : undefined;
    if (known !== undefined) return known;
    const type = TYPES[dtype];
    if (type === undefined)
      throw new DTypeError(`Cannot run ${formatType(dtype, shape)} in the browser: onnxruntime-web has no such tensors; cast it to f32`);
    const tensor = new this.#ort.Tensor(type, data as Float32Array, shape); // the constructor checks the class against the type
    if (isKept) this.#kept.set(data, tensor);
    return tensor;
  }

  /** Gives up what a run made and left. */
  freeUnkept(tensors: Iterable<Tensor>): void {
    for (const tensor of tensors) if (tensor.location === "gpu-buffer") tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.#kept = new WeakMap();
  }
}
