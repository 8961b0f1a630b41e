/** @file Arrays of ours as tensors of onnxruntime-web; weights are made once, on WebGPU they stay on the device. */
import type { Tensor } from "onnxruntime-web";
import { type DType, DTypeError, formatType, type Shape, type TypedArray } from "../../../core/index.ts";
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

/** The little of WebGPU that uploads weights; we compile without its types. */
interface GpuDevice {
  createBuffer(options: { readonly size: number; readonly usage: number; readonly mappedAtCreation: true }): GpuBuffer;
}

interface GpuBuffer {
  getMappedRange(): ArrayBuffer;
  unmap(): void;
  destroy(): void;
}

/** GPUBufferUsage: STORAGE, COPY_SRC and COPY_DST, as onnxruntime-web wants its inputs. */
const USAGE = 0x80 | 0x04 | 0x08;

/** The tensors of one device. */
export class WebTensors {
  readonly #ort: OrtWeb;
  readonly #kept = new Map<TypedArray, Tensor>();
  #gpu: GpuDevice | undefined;

  constructor(ort: OrtWeb) {
    this.#ort = ort;
  }

  /** Has what is kept live on the GPU from now on. To be called when a session is open: only then there is a device. */
  async useGpu(): Promise<void> {
    const device: unknown = await this.#ort.env.webgpu.device;
    this.#gpu ??= device as GpuDevice; // a GPUDevice, by onnxruntime-web's documentation
  }

  /**
   * A tensor over an array. A kept one is made once: on WebAssembly it is read in place at every run, on WebGPU uploaded as it is then.
   * Throws DTypeError for bfloat16.
   */
  of(data: TypedArray, { dtype, shape }: Value, { isKept }: { readonly isKept: boolean }): Tensor {
    const known = isKept ? this.#kept.get(data) : undefined;
    if (known !== undefined) return known;
    const type = TYPES[dtype];
    if (type === undefined)
      throw new DTypeError(`Cannot run ${formatType(dtype, shape)} in the browser: onnxruntime-web has no such tensors; cast it to f32`);
    const isUploaded = isKept && this.#gpu !== undefined && type === "float32" && data.length > 0;
    const tensor = isUploaded
      ? this.#upload(this.#gpu!, data, shape) // just seen
      : new this.#ort.Tensor(type, data as Float32Array, shape); // the constructor checks the class against the type
    if (isKept) this.#kept.set(data, tensor);
    return tensor;
  }

  #upload(gpu: GpuDevice, data: TypedArray, shape: Shape): Tensor {
    const buffer = gpu.createBuffer({ size: Math.ceil(data.byteLength / 16) * 16, usage: USAGE, mappedAtCreation: true });
    new Uint8Array(buffer.getMappedRange()).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    buffer.unmap();
    const options = { dataType: "float32", dims: shape, dispose: () => buffer.destroy() } as const;
    return this.#ort.Tensor.fromGpuBuffer(buffer as never, options); // GPUBuffer, whose type we compile without
  }

  /** Gives up what a run made and left. */
  freeUnkept(tensors: Iterable<Tensor>): void {
    const kept = new Set(this.#kept.values());
    for (const tensor of tensors) if (tensor.location === "gpu-buffer" && !kept.has(tensor)) tensor.dispose();
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#kept.values()) tensor.dispose();
    this.#kept.clear();
  }
}
