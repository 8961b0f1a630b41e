/** @file A frozen backbone that turns pictures into features; one program a batch size, a few kept. */
import { InternalError, type TypedArray } from "../core/index.ts";
import { optimize } from "../engine/passes/index.ts";
import type { Device, Program } from "../engine/runtime/index.ts";
import { Builder, concat, reduceMean, reshape, slice } from "../engine/trace/index.ts";
import { applyViT, prefixTokens, traceParams, type ViTConfig, vitSpecs } from "../nn/index.ts";

/** `patch`: every patch token; `all`: the class token, registers where there are any, then the patches. `mean` is over the patches. */
export type Pooling = "cls" | "mean" | "cls+mean" | "patch" | "all";

export interface EncoderOptions {
  readonly config: ViTConfig;
  /** Parameters by their names without a prefix; read in place, so a network in training may be given. */
  readonly params: ReadonlyMap<string, Float32Array>;
  readonly device: Device;
}

interface What {
  readonly pool: Pooling;
  readonly batch: number;
  readonly sizePx: number;
  readonly attention: boolean;
}

/** Programs kept (contracts 29); a run uses a full batch and a last, smaller one, for features and for pictures. */
const MAX_PROGRAMS = 8;

export interface Encoded {
  /** `[b, d]`, or `[b, p, d]` for tokens; valid until the next call. */
  readonly features: Float32Array;
  /** Class-token attention of the last block over the patches, `[b, h, p]`, when asked for. */
  readonly attention: Float32Array | undefined;
}

/** Features of a ViT. */
export class Encoder implements Disposable {
  readonly config: ViTConfig;
  readonly #options: EncoderOptions;
  readonly #programs = new Map<string, Program>();

  constructor(options: EncoderOptions) {
    this.config = options.config;
    this.#options = options;
  }

  /** Vectors of one picture: 1, or its tokens. */
  tokens(pool: Pooling, sizePx: number): number {
    const patches = (sizePx / this.config.patchSizePx) ** 2;
    return pool === "patch" ? patches : pool === "all" ? prefixTokens(this.config) + patches : 1;
  }

  /** Numbers in one vector. */
  dim(pool: Pooling): number {
    return this.config.width * (pool === "cls+mean" ? 2 : 1);
  }

  /** Images `[b, 3, s, s]`, normalised, -> features. */
  async encode(
    images: Float32Array,
    {
      pool,
      sizePx,
      attention = false,
      signal,
    }: { readonly pool: Pooling; readonly sizePx: number; readonly attention?: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<Encoded> {
    const program = this.#program({ pool, sizePx, attention, batch: images.length / (3 * sizePx * sizePx) });
    floats(program.inputs, "images").set(images);
    await program.run({ signal });
    return { features: floats(program.outputs, "features"), attention: attention ? floats(program.outputs, "attention") : undefined };
  }

  #program(what: What): Program {
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

function traceEncoder(config: ViTConfig, { pool, batch, sizePx, attention }: What): ReturnType<Builder["graph"]> {
  const builder = new Builder();
  const params = traceParams(builder, vitSpecs(config), { prefix: "backbone." });
  const images = builder.input("images", [batch, 3, sizePx, sizePx]);
  const patches = (sizePx / config.patchSizePx) ** 2;
  const first = prefixTokens(config);
  const wantsTokens = pool !== "cls";
  const out = applyViT(params, images, {
    config,
    output: wantsTokens ? "tokens" : "cls",
    ...(attention
      ? {
          onAttention: (p) => {
            const queries = slice(p, 2, [0, 1]);
            builder.output("attention", reshape(slice(queries, 3, [first, first + patches]), [batch, config.heads, patches]));
          },
        }
      : {}),
  });
  if (!wantsTokens) {
    builder.output("features", out);
    return builder.graph();
  }
  if (pool === "all") {
    builder.output("features", out);
    return builder.graph();
  }
  const cls = reshape(slice(out, 1, [0, 1]), [batch, config.width]);
  const tokens = slice(out, 1, [first, first + patches]);
  if (pool === "patch") builder.output("features", tokens);
  else {
    const mean = reshape(reduceMean(tokens, [1]), [batch, config.width]);
    if (pool === "mean") builder.output("features", mean);
    else builder.output("features", concat([cls, mean], 1));
  }
  return builder.graph();
}
