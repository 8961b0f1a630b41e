/** @file Features by pooling, from whatever outputs a graph gives. */
import type { HostTensor } from "../../core/index.ts";
import type { OutputName } from "../export/outputs.ts";
import type { Pooling } from "../trace-encoder.ts";

/** Outputs of one run by name, float32. */
export type Given = ReadonlyMap<OutputName, HostTensor>;

/** Vectors `[b, t, d]`. */
interface Tokens {
  readonly b: number;
  readonly t: number;
  readonly d: number;
  readonly data: Float32Array;
}

function tokensOf({ shape, data }: HostTensor): Tokens {
  const [b = 0] = shape;
  const [t, d] = shape.length === 3 ? [shape[1] ?? 0, shape[2] ?? 0] : [1, shape[1] ?? 0];
  return { b, t, d, data: data as Float32Array }; // evaluate() gives float32 only
}

/** Tokens `from` to before `to` of each picture. */
function part({ b, t, d, data }: Tokens, from: number, to: number): Tokens {
  const out = new Float32Array(b * (to - from) * d);
  for (let i = 0; i < b; i++) out.set(data.subarray((i * t + from) * d, (i * t + to) * d), i * (to - from) * d);
  return { b, t: to - from, d, data: out };
}

/** Tokens of each picture after each other. */
function join(parts: readonly Tokens[]): Tokens {
  const [first] = parts;
  const [b, d] = [first?.b ?? 0, first?.d ?? 0];
  const t = parts.reduce((n, p) => n + p.t, 0);
  const out = new Float32Array(b * t * d);
  let at = 0;
  for (let i = 0; i < b; i++)
    for (const p of parts) {
      out.set(p.data.subarray(i * p.t * d, (i + 1) * p.t * d), at);
      at += p.t * d;
    }
  return { b, t, d, data: out };
}

/** One vector a picture: `finish(sum over tokens of start(x) / t)`. */
function meanOf({ b, t, d, data }: Tokens, start = (x: number): number => x, finish = (x: number): number => x): Tokens {
  const out = Float32Array.from({ length: b * d }, (_, i) => {
    const [picture, k] = [Math.floor(i / d), i % d];
    let sum = 0;
    for (let token = 0; token < t; token++) sum += start(data[(picture * t + token) * d + k] ?? 0);
    return finish(sum / t);
  });
  return { b, t: 1, d, data: out };
}

/** Outputs as tokens; undefined for what the graph does not give. */
class Outputs {
  readonly #given: Given;
  readonly #prefix: number;
  readonly #isPooled: boolean;
  constructor(given: Given, { prefix, isPooled }: PoolOptions) {
    [this.#given, this.#prefix, this.#isPooled] = [given, prefix, isPooled];
  }
  #own(name: OutputName): Tokens | undefined {
    const found = this.#given.get(name);
    return found === undefined ? undefined : tokensOf(found);
  }
  #slice(from: number, to?: number): Tokens | undefined {
    const all = this.#own("last_hidden_state");
    return all === undefined ? undefined : part(all, from, to ?? all.t);
  }
  get cls(): Tokens | undefined {
    return this.#own("cls") ?? this.#slice(0, 1) ?? (this.#isPooled ? this.#own("pooler_output") : undefined);
  }
  get patches(): Tokens | undefined {
    return this.#own("patches") ?? this.#slice(this.#prefix);
  }
  get registers(): Tokens | undefined {
    return this.#prefix === 1 ? undefined : (this.#own("registers") ?? this.#slice(1, this.#prefix));
  }
  get mean(): Tokens | undefined {
    const { patches } = this;
    return this.#own("mean") ?? (patches === undefined ? undefined : meanOf(patches));
  }
  get both(): Tokens | undefined {
    const { cls, mean } = this;
    const own = this.#own("cls+mean");
    if (own !== undefined || cls === undefined || mean === undefined) return own;
    return { ...join([cls, mean]), t: 1, d: 2 * cls.d };
  }
  /** `(mean max(x, 1e-6)³)^⅓`, as `traceEncoder` has it. */
  get gem(): Tokens | undefined {
    const { patches } = this;
    return patches === undefined ? undefined : meanOf(patches, (x) => Math.max(x, 1e-6) ** 3, Math.cbrt);
  }
  get all(): Tokens | undefined {
    const own = this.#own("last_hidden_state");
    const { cls, registers, patches } = this;
    if (own !== undefined || cls === undefined || patches === undefined) return own;
    return join(registers === undefined ? [cls, patches] : [cls, registers, patches]);
  }
}

const OF: { readonly [K in Pooling]: (outputs: Outputs) => Tokens | undefined } = {
  cls: (outputs) => outputs.cls,
  mean: (outputs) => outputs.mean,
  "cls+mean": (outputs) => outputs.both,
  gem: (outputs) => outputs.gem,
  patch: (outputs) => outputs.patches,
  registers: (outputs) => outputs.registers,
  all: (outputs) => outputs.all,
};

export interface PoolOptions {
  /** Tokens before the patches. */
  readonly prefix: number;
  /** Whether `pooler_output` is the class token: so in our exports; a `ViTModel`'s goes through a layer of its own. */
  readonly isPooled: boolean;
}

/** Features `[b, t, d]` of a pooling; undefined where the outputs do not have them. */
export function poolOutputs(given: Given, pool: Pooling, options: PoolOptions): Float32Array | undefined {
  return OF[pool](new Outputs(given, options))?.data;
}
