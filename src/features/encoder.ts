/** @file A frozen backbone that turns pictures into features; one program a batch size, a few kept. */
import { ConfigError, InternalError, type TypedArray } from "../core/index.ts";
import { optimize } from "../engine/passes/index.ts";
import type { Device, Program } from "../engine/runtime/index.ts";
import { type BackboneConfig, backboneWidth, gridSideOf, isViT, patchSizeOf, prefixTokens } from "../nn/index.ts";
import { type EncoderRequest, type Pooling, traceEncoder } from "./trace-encoder.ts";

export interface EncoderOptions {
  readonly config: BackboneConfig;
  /** Parameters and running statistics by their names without a prefix; read in place, so a network in training may be given. */
  readonly params: ReadonlyMap<string, Float32Array>;
  readonly device: Device;
}

/** Programs kept (contracts 29); a run uses a full batch and a last, smaller one, for features and for pictures. */
const MAX_PROGRAMS = 8;

export interface Encoded {
  /** `[b, d]`, or `[b, p, d]` for tokens; valid until the next call. */
  readonly features: Float32Array;
  /** Class-token attention of the last block over the patches, `[b, h, p]`, when asked for. */
  readonly attention: Float32Array | undefined;
}

/** Features of a backbone. */
export class Encoder implements Disposable {
  readonly config: BackboneConfig;
  readonly #options: EncoderOptions;
  readonly #programs = new Map<string, Program>();

  constructor(options: EncoderOptions) {
    this.config = options.config;
    this.#options = options;
  }

  /** Vectors of one picture: 1, or its tokens. */
  tokens(pool: Pooling, sizePx: number): number {
    const patches = gridSideOf(this.config, sizePx) ** 2;
    const prefix = isViT(this.config) ? prefixTokens(this.config) : 1;
    return pool === "patch" ? patches : pool === "all" ? prefix + patches : 1;
  }

  /** Side of a patch, or the stride of the last map. */
  get patchSizePx(): number {
    return patchSizeOf(this.config);
  }

  /** Numbers in one vector. */
  dim(pool: Pooling): number {
    return backboneWidth(this.config) * (pool === "cls+mean" ? 2 : 1);
  }

  /** Images `[b, 3, s, s]`, normalised, -> features. Throws ConfigError for attention of a convolutional network, which has none. */
  async encode(
    images: Float32Array,
    {
      pool,
      sizePx,
      attention = false,
      signal,
    }: { readonly pool: Pooling; readonly sizePx: number; readonly attention?: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<Encoded> {
    if (attention && !isViT(this.config))
      throw new ConfigError(
        `Cannot show attention: a ${this.config.family === "convnext" ? "ConvNeXt" : "ResNet"} has none; leave it out, or choose a vision transformer`,
        {
          keyPath: "attention",
        },
      );
    const program = this.#program({ pool, sizePx, attention, batch: images.length / (3 * sizePx * sizePx) });
    floats(program.inputs, "images").set(images);
    await program.run({ signal });
    return { features: floats(program.outputs, "features"), attention: attention ? floats(program.outputs, "attention") : undefined };
  }

  #program(what: EncoderRequest): Program {
    const key = JSON.stringify(what);
    const known = this.#programs.get(key);
    if (known !== undefined) {
      this.#programs.delete(key);
      this.#programs.set(key, known);
      return known;
    }
    const [oldest] = this.#programs;
    if (oldest !== undefined && this.#programs.size >= MAX_PROGRAMS) {
      oldest[1][Symbol.dispose]();
      this.#programs.delete(oldest[0]);
    }
    const { params, device } = this.#options;
    const inputs = new Map<string, TypedArray>([...params].map(([name, data]) => [`backbone.${name}`, data]));
    const program = device.compile(optimize(traceEncoder(this.config, what)), { inputs });
    this.#programs.set(key, program);
    return program;
  }

  [Symbol.dispose](): void {
    for (const program of this.#programs.values()) program[Symbol.dispose]();
    this.#programs.clear();
  }
}

function floats(side: ReadonlyMap<string, TypedArray>, name: string): Float32Array {
  const view = side.get(name);
  if (!(view instanceof Float32Array)) throw new InternalError(`Cannot encode: the program has no float32 "${name}"`);
  return view;
}
