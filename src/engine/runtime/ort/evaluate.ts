/** @file Runs a model whose outputs' shapes are known only afterwards: ONNX Runtime makes the outputs, which are copied. */
import koffi from "koffi";
import { DTypeError, type HostTensor, InternalError, sizeOf } from "../../../core/index.ts";
import { ONNX_DTYPE } from "../../onnx/proto.ts";
import type { Handle, OrtApi } from "./api.ts";
import type { OrtSession } from "./session.ts";
import type { OrtTensor } from "./tensor.ts";

const RUN = "run ONNX session";
const READ = "read an output";

/**
 * Runs off the event loop and gives the outputs, float32, in the order of the session's names. Rejects with OrtError, and with DTypeError for
 * an output that is not float32.
 */
export async function evaluate(session: OrtSession, inputs: readonly OrtTensor[]): Promise<readonly HostTensor[]> {
  const { inputs: wanted, outputs } = session.names;
  if (inputs.length !== wanted.length)
    throw new InternalError(`Cannot run ONNX session: it has ${wanted.length} inputs, ${inputs.length} were given; pass one for each`);
  const from = BigUint64Array.from(inputs, ({ handle }) => handle);
  const to = new BigUint64Array(outputs.length); // nulls: ONNX Runtime fills them in
  void [from.buffer, to.buffer]; // moves small arrays out of V8's movable heap
  const api = session.enter();
  for (const tensor of inputs) tensor.pin();
  try {
    const call = session.callArguments(koffi.address(from), koffi.address(to));
    await new Promise<void>((resolve, reject) => {
      api.callAsync(RUN, "run", call, (error) => (error === undefined ? resolve() : reject(error)));
    });
    return outputs.map((name, i) => readOutput(api, to[i] ?? 0n, name));
  } finally {
    for (const handle of to) if (handle !== 0n) api.release("value", handle);
    for (const tensor of inputs) tensor.unpin();
    session.leave();
  }
}

/** A copy of an output's values. */
function readOutput(api: OrtApi, value: Handle, name: string): HostTensor {
  const shape = shapeOf(api, value, name);
  const data = new Float32Array(sizeOf(shape));
  if (data.length === 0) return { dtype: "f32", shape, data };
  const address = api.make(READ, (out) => api.call(READ, "tensorData", value, out));
  data.set(new Float32Array(koffi.view(address, data.byteLength)));
  return { dtype: "f32", shape, data };
}

function shapeOf(api: OrtApi, value: Handle, name: string): readonly number[] {
  const info = api.make(READ, (out) => api.call(READ, "typeAndShape", value, out));
  try {
    const type = new Int32Array(1);
    api.call(READ, "elementType", info, type);
    if (type[0] !== ONNX_DTYPE.f32)
      throw new DTypeError(`Cannot read output "${name}": its element type is number ${type[0]} of ONNX; float32 is read`);
    const count = new BigUint64Array(1);
    api.call(READ, "dimensionCount", info, count);
    const dims = new BigInt64Array(Number(count[0]));
    if (dims.length > 0) api.call(READ, "dimensions", info, dims, dims.length);
    return Array.from(dims, Number);
  } finally {
    api.release("typeAndShape", info);
  }
}
