/** @file State that is read and written inside one traced part: each reader sees what the one before it wrote. */
import type { Builder, Tensor } from "../engine/trace/index.ts";
import type { Params, ParamSpec } from "../nn/index.ts";

/** State of one network by name. Inputs and outputs are called `PREFIX + name`. */
export class StateThread {
  readonly #builder: Builder;
  readonly #prefix: string;
  readonly #now: Map<string, Tensor>;
  readonly #written = new Set<string>();
  readonly #readOnly: boolean;

  constructor(
    builder: Builder,
    specs: readonly ParamSpec[],
    { prefix, readOnly = false }: { readonly prefix: string; readonly readOnly?: boolean },
  ) {
    this.#readOnly = readOnly;
    this.#builder = builder;
    this.#prefix = prefix;
    this.#now = new Map(specs.map((s) => [s.name, builder.input(prefix + s.name, s.shape, { kind: "state" })]));
  }

  get isEmpty(): boolean {
    return this.#now.size === 0;
  }

  /** Reader and, where the network learns, writer for a layer; nothing where there is no state. */
  options(scope = ""): { readonly state?: Params; readonly onState?: (name: string, next: Tensor) => void } {
    if (this.isEmpty) return {};
    const state: Params = (name) => this.#read(scope + name);
    if (this.#readOnly) return { state };
    return {
      state,
      onState: (name, next) => {
        this.#read(scope + name);
        this.#now.set(scope + name, next);
        this.#written.add(scope + name);
      },
    };
  }

  /** Gives out what was written. */
  finish(): void {
    for (const name of this.#written) this.#builder.output(this.#prefix + name, this.#read(name), "state");
  }

  #read(name: string): Tensor {
    const tensor = this.#now.get(name);
    if (tensor === undefined) throw new RangeError(`Cannot read state "${name}": the network has none of that name; add it to its state`);
    return tensor;
  }
}
