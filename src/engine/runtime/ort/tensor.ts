/** @file A tensor of ONNX Runtime over memory of ours: nothing is copied, ONNX Runtime reads and writes the view itself. */
import koffi from "koffi";
import {
  type DType,
  DTYPE_BYTES,
  DTypeError,
  formatType,
  InternalError,
  type Shape,
  ShapeError,
  sizeOf,
  type TypedArray,
} from "../../../core/index.ts";
import { ONNX_DTYPE } from "../../onnx/proto.ts";
import type { Handle, OrtApi } from "./api.ts";

/** Memory that a tensor lies over. */
export interface TensorMemory {
  readonly address: bigint;
  readonly bytes: number;
  readonly dtype: DType;
  readonly shape: Shape;
}

const ARRAY_NAMES: { readonly [K in DType]: string } = {
  f32: "Float32Array",
  f64: "Float64Array",
  bf16: "Uint16Array",
  i32: "Int32Array",
  i64: "BigInt64Array",
  bool: "Uint8Array",
  u8: "Uint8Array",
};

/** Where a view lies; the view must stay referenced while the address is in use. Throws DTypeError, ShapeError. */
export function memoryOf(data: TypedArray, dtype: DType, shape: Shape): TensorMemory {
  if (data.constructor.name !== ARRAY_NAMES[dtype])
    throw new DTypeError(`Cannot make ${formatType(dtype, shape)}: its data is a ${data.constructor.name}; pass a ${ARRAY_NAMES[dtype]}`);
  void data.buffer; // moves a small array out of V8's movable heap, so that its address stays
  return { address: data.byteLength === 0 ? 0n : koffi.address(data), bytes: data.byteLength, dtype, shape };
}

/** An OrtValue. Released by `using` or `[Symbol.dispose]()`; a second dispose does nothing. */
export class OrtTensor implements Disposable {
  readonly dtype: DType;
  readonly shape: Shape;
  /** The view the tensor lies over; undefined when it was made over a bare address. */
  readonly data: TypedArray | undefined;
  readonly #api: OrtApi;
  #handle: Handle;
  #pins = 0;

  constructor(api: OrtApi, memoryInfo: Handle, memory: TensorMemory, data: TypedArray | undefined) {
    const { address, bytes, dtype, shape } = memory;
    const needed = sizeOf(shape) * DTYPE_BYTES[dtype];
    if (bytes !== needed)
      throw new ShapeError(
        `Cannot make ${formatType(dtype, shape)}: it takes ${needed} bytes, its memory has ${bytes}; pass memory of that size`,
      );
    const dims = BigInt64Array.from(shape, BigInt); // ONNX Runtime copies it
    const place = address === 0n ? NOWHERE : address;
    this.#handle = api.make("make a tensor", (out) =>
      api.call(
        "make a tensor",
        "createTensor",
        memoryInfo,
        place,
        bytes,
        shape.length === 0 ? null : dims,
        shape.length,
        ONNX_DTYPE[dtype],
        out,
      ),
    );
    this.#api = api;
    this.dtype = dtype;
    this.shape = shape;
    this.data = data;
  }

  /** The OrtValue*, for an argument list. Throws InternalError after dispose. */
  get handle(): Handle {
    if (this.#handle === 0n)
      throw new InternalError(
        `Cannot use tensor ${formatType(this.dtype, this.shape)}: it is disposed; keep it until the last run is over`,
      );
    return this.#handle;
  }

  /** Marks the tensor as in use by a run, until `unpin`. */
  pin(): void {
    void this.handle;
    this.#pins++;
  }

  unpin(): void {
    this.#pins--;
  }

  [Symbol.dispose](): void {
    if (this.#handle === 0n) return;
    if (this.#pins > 0)
      throw new InternalError(`Cannot dispose tensor ${formatType(this.dtype, this.shape)}: a run uses it; await the run first`);
    this.#api.release("value", this.#handle);
    this.#handle = 0n;
  }
}

/** An address for tensors without elements, which ONNX Runtime asks for and never reads. */
const NOWHERE: Float64Array = new Float64Array(8);
