/** @file A frozen backbone that turns pictures into features; one program a batch size, a few kept. */
import { ConfigError, InternalError, type TypedArray } from "../core/index.ts";
import { optimize } from "../engine/passes/index.ts";
import type { Device, Program } from "../engine/runtime/index.ts";
import { Builder, concat, reduceMean, reshape, slice, type Tensor } from "../engine/trace/index.ts";
import {
  applyViT,
  type BackboneConfig,
  backboneFeatures,
  backboneSpecs,
  backboneState,
  backboneWidth,
  gridSideOf,
  isViT,
  type Params,
  patchSizeOf,
  prefixTokens,
  traceParams,
  type ViTConfig,
} from "../nn/index.ts";

/** `patch`: every patch token; `all`: the class token, registers where there are any, then the patches. `mean` is over the patches. */
export type Pooling = "cls" | "mean" | "cls+mean" | "patch" | "all";

export interface EncoderOptions {
  readonly config: BackboneConfig;
  /** Parameters and running statistics by their names without a prefix; read in place, so a network in training may be given. */
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

function traceEncoder(config: BackboneConfig, what: What): ReturnType<Builder["graph"]> {
  const builder = new Builder();
  const params = traceParams(builder, backboneSpecs(config), { prefix: "backbone." });
  const images = builder.input("images", [what.batch, config.channels ?? 3, what.sizePx, what.sizePx]);
  const features = isViT(config) ? vitTokens(params, images, { config, what }) : mapTokens(params, images, config);
  builder.output("features", pooled(features, what));
  return builder.graph();
}

/** What a pooling is made of. */
interface Tokens {
  readonly cls: Tensor;
  /** `[b, p, d]`; `all` has what comes before the patches, too. Absent where only the class token was asked for. */
  readonly patches?: Tensor;
  readonly all?: Tensor;
}

function vitTokens(params: Params, images: Tensor, { config, what }: { readonly config: ViTConfig; readonly what: What }): Tokens {
  const { pool, batch, sizePx, attention } = what;
  const { builder } = images;
  const patches = gridSideOf(config, sizePx) ** 2;
  const first = prefixTokens(config);
  const onAttention = (p: Tensor): void => {
    const queries = slice(p, 2, [0, 1]);
    builder.output("attention", reshape(slice(queries, 3, [first, first + patches]), [batch, config.heads, patches]));
  };
  const output = pool === "cls" ? "cls" : "tokens";
  const out = applyViT(params, images, { config, output, ...(attention ? { onAttention } : {}) });
  if (pool === "cls") return { cls: out };
  return { cls: reshape(slice(out, 1, [0, 1]), [batch, config.width]), patches: slice(out, 1, [first, first + patches]), all: out };
}

function mapTokens(params: Params, images: Tensor, config: BackboneConfig): Tokens {
  const { builder } = images;
  const running = new Map(backboneState(config).map((s) => [s.name, builder.input(`backbone.${s.name}`, s.shape, { kind: "state" })]));
  const state: Params = (name) => running.get(name) ?? params(name);
  const { cls, patches } = backboneFeatures(params, images, { config, patches: true, ...(running.size > 0 ? { state } : {}) });
  if (patches === undefined) return { cls };
  const [b = 1, d = 1] = cls.shape;
  return { cls, patches, all: concat([reshape(cls, [b, 1, d]), patches], 1) };
}

function pooled({ cls, patches = cls, all = cls }: Tokens, { pool, batch }: What): Tensor {
  if (pool === "cls") return cls;
  if (pool === "all") return all;
  if (pool === "patch") return patches;
  const mean = reshape(reduceMean(patches, [1]), [batch, cls.shape[1] ?? 1]);
  return pool === "mean" ? mean : concat([cls, mean], 1);
}
