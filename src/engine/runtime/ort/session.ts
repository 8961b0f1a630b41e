/** @file A compiled graph and its runs: argument lists are laid out once, so that running one allocates next to nothing. */
import koffi from "koffi";
import { InternalError, ShapeError } from "../../../core/index.ts";
import type { Handle, OrtApi } from "./api.ts";
import type { OrtTensor } from "./tensor.ts";

export interface SessionNames {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** Null-terminated names and the array of their addresses, as `const char* const*`. */
interface NameList {
  readonly bytes: Uint8Array;
  readonly pointers: BigUint64Array;
  readonly address: bigint;
  readonly count: number;
}

/** A session over one model. Runs may overlap; dispose after the last one is over. */
export class OrtSession implements Disposable {
  readonly names: SessionNames;
  readonly #api: OrtApi;
  readonly #inputs: NameList;
  readonly #outputs: NameList;
  readonly #onDispose: () => void;
  #handle: Handle;
  #running = 0;

  constructor(api: OrtApi, handle: Handle, names: SessionNames, onDispose: () => void) {
    this.#api = api;
    this.#handle = handle;
    this.names = names;
    this.#inputs = nameList(names.inputs);
    this.#outputs = nameList(names.outputs);
    this.#onDispose = onDispose;
  }

  /** Fixes the arguments of a run: tensors in the order of the session's names. ONNX Runtime writes into the output tensors' memory. */
  bind(inputs: readonly OrtTensor[], outputs: readonly OrtTensor[]): OrtRun {
    checkCount("inputs", inputs, this.names.inputs);
    checkCount("outputs", outputs, this.names.outputs);
    return new OrtRun(this, [...inputs], [...outputs]);
  }

  /** Runs once off the event loop; a repeated run is cheaper with `bind`. */
  run(inputs: readonly OrtTensor[], outputs: readonly OrtTensor[]): Promise<void> {
    return this.bind(inputs, outputs).run();
  }

  /** Whether a run is in flight. */
  get busy(): boolean {
    return this.#running > 0;
  }

  /** The arguments of the C API's `Run` over two arrays of OrtValue*, for OrtRun. */
  callArguments(inputs: bigint, outputs: bigint): RunArguments {
    const from = this.#inputs;
    const to = this.#outputs;
    return [this.#live(), null, from.address, inputs, from.count, to.address, to.count, outputs];
  }

  /** Counts a run in or out, so that a session is never released under it. */
  enter(): OrtApi {
    void this.#live();
    this.#running++;
    return this.#api;
  }

  leave(): void {
    this.#running--;
  }

  [Symbol.dispose](): void {
    if (this.#handle === 0n) return;
    if (this.#running > 0) throw new InternalError("Cannot dispose ONNX session: a run is in flight; await it first");
    this.#api.release("session", this.#handle);
    this.#handle = 0n;
    this.#onDispose();
  }

  #live(): Handle {
    if (this.#handle === 0n) throw new InternalError("Cannot use ONNX session: it is disposed; keep it until the last run is over");
    return this.#handle;
  }
}

type RunArguments = [bigint, null, bigint, bigint, number, bigint, number, bigint];

const RUN = "run ONNX session";

/** A session with its arguments: call it again and again; a tensor's contents may change between runs, its place may not. */
export class OrtRun {
  readonly #session: OrtSession;
  readonly #tensors: readonly OrtTensor[];
  /** Both arrays are kept: ONNX Runtime holds their addresses. */
  readonly #values: readonly [BigUint64Array, BigUint64Array];
  readonly #arguments: RunArguments;

  constructor(session: OrtSession, inputs: readonly OrtTensor[], outputs: readonly OrtTensor[]) {
    this.#session = session;
    this.#tensors = [...inputs, ...outputs];
    this.#values = [handles(inputs), handles(outputs)];
    this.#arguments = session.callArguments(koffi.address(this.#values[0]), koffi.address(this.#values[1]));
  }

  /** Runs on another thread; the event loop stays free. Rejects with OrtError. */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#enter().callAsync(RUN, "run", this.#arguments, (error) => {
        this.#leave();
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  /** Runs and blocks the event loop. Throws OrtError. */
  runSync(): void {
    const api = this.#enter();
    try {
      api.call(RUN, "run", ...this.#arguments);
    } finally {
      this.#leave();
    }
  }

  #enter(): OrtApi {
    for (const tensor of this.#tensors) void tensor.handle; // all or none are pinned
    const api = this.#session.enter();
    for (const tensor of this.#tensors) tensor.pin();
    return api;
  }

  #leave(): void {
    for (const tensor of this.#tensors) tensor.unpin();
    this.#session.leave();
  }
}

function checkCount(what: string, tensors: readonly OrtTensor[], names: readonly string[]): void {
  if (tensors.length !== names.length)
    throw new ShapeError(
      `Cannot bind ONNX session: it has ${names.length} ${what} (${names.join(", ")}), ${tensors.length} were given; pass one tensor for each`,
    );
}

function handles(tensors: readonly OrtTensor[]): BigUint64Array {
  const list = new BigUint64Array(Math.max(1, tensors.length)); // an empty array has no address
  void list.buffer; // moves a small array out of V8's movable heap
  for (const [i, tensor] of tensors.entries()) list[i] = tensor.handle;
  return list;
}

function nameList(names: readonly string[]): NameList {
  const encoded = names.map((name) => Buffer.from(`${name}\0`, "utf8"));
  const bytes = new Uint8Array(Buffer.concat([...encoded, Buffer.alloc(1)]));
  const pointers = new BigUint64Array(Math.max(1, names.length));
  void [bytes.buffer, pointers.buffer]; // moves small arrays out of V8's movable heap
  let address = koffi.address(bytes);
  for (const [i, name] of encoded.entries()) {
    pointers[i] = address;
    address += BigInt(name.length);
  }
  return { bytes, pointers, address: koffi.address(pointers), count: names.length };
}
