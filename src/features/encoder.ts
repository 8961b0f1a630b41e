/** @file A frozen backbone that turns pictures into features; one program a batch size, a few kept. */
import { ConfigError, InternalError, type TypedArray } from "../core/index.ts";
import { optimize } from "../engine/passes/index.ts";
import type { Device, Program } from "../engine/runtime/index.ts";
import { type BackboneConfig, backboneWidth, type Grid, isViT, patchSizeOf, prefixTokens } from "../nn/index.ts";
import { checkPictureSize } from "./fit.ts";
import type { IdentitySink, PictureEncoder } from "./picture-encoder.ts";
import {
  type EncoderRequest,
  gridOfSize,
  noRegisters,
  type PictureSize,
  type Pooling,
  resolveLayers,
  sidesOf,
  traceEncoder,
} from "./trace-encoder.ts";

export interface EncoderOptions {
  readonly config: BackboneConfig;
  /** Parameters and running statistics by their names without a prefix; read in place, so a network in training may be given. */
  readonly params: ReadonlyMap<string, Float32Array>;
  readonly device: Device;
}

/** Programs kept (contracts 29); a run uses a full batch and a last, smaller one, for features and for pictures. */
const MAX_PROGRAMS = 8;

export interface EncodeRequest {
  readonly pool: Pooling;
  readonly sizePx: PictureSize;
  readonly attention?: boolean;
  /** Blocks by number, -1 the last; only the last unless said. */
  readonly layers?: readonly number[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Encoded {
  /** `[b, d]`, or `[b, p, d]` for tokens; of several layers `[b, l, …]`; valid until the next call. */
  readonly features: Float32Array;
  /** Class-token attention of the last block over the patches, `[b, h, p]`, when asked for. */
  readonly attention: Float32Array | undefined;
}

/** Features of a backbone. */
export class Encoder implements PictureEncoder {
  readonly config: BackboneConfig;
  readonly #options: EncoderOptions;
  readonly #programs = new Map<string, Program>();

  constructor(options: EncoderOptions) {
    this.config = options.config;
    this.#options = options;
  }

  /** Vectors of one picture and layer: 1, or its tokens. Throws ConfigError for the registers of a network without any. */
  tokens(pool: Pooling, sizePx: PictureSize): number {
    const { rows, columns } = this.grid(sizePx);
    const { prefix } = this;
    if (pool === "registers") return prefix > 1 ? prefix - 1 : noRegisters();
    return pool === "patch" ? rows * columns : pool === "all" ? prefix + rows * columns : 1;
  }

  /** Numbers in a token. */
  get width(): number {
    return backboneWidth(this.config);
  }

  /** Tokens before the patches. */
  get prefix(): number {
    return isViT(this.config) ? prefixTokens(this.config) : 1;
  }

  /** Blocks counted from 0. Throws ConfigError for one that is not there, comes twice, or is no ViT's. */
  blocks(layers?: readonly number[]): readonly number[] {
    return resolveLayers(this.config, layers);
  }

  /** A ViT's: what is left over is not seen. */
  get takesPartialPatches(): boolean {
    return isViT(this.config);
  }

  /** Throws ConfigError for a square that is no whole number of patches. */
  checkSize(sizePx: number): void {
    checkPictureSize(sizePx, this.patchSizePx);
  }

  /** The configuration and up to 1000 numbers of each parameter, evenly spread. */
  writeIdentity(to: IdentitySink): void {
    to.update(JSON.stringify(this.config));
    for (const [name, data] of this.params) {
      const step = Math.max(1, Math.floor(data.length / 1000));
      const some = Float32Array.from({ length: Math.floor(data.length / step) }, (_, i) => data[i * step] ?? 0);
      to.update(`${name}:${data.length};`);
      to.update(new Uint8Array(some.buffer));
    }
  }

  /** The patches of a picture. */
  grid(sizePx: PictureSize): Grid {
    return gridOfSize(this.config, sizePx);
  }

  /** Attention heads; none of a convolutional network. */
  get heads(): number {
    return isViT(this.config) ? this.config.heads : 0;
  }

  /** Side of a patch, or the stride of the last map. */
  get patchSizePx(): number {
    return patchSizeOf(this.config);
  }

  /** Numbers in one vector. */
  dim(pool: Pooling): number {
    return backboneWidth(this.config) * (pool === "cls+mean" ? 2 : 1);
  }

  /** Throws ConfigError where attention is wanted of a convolutional network, which has none. */
  checkAttention(isWanted: boolean): void {
    if (!isWanted || isViT(this.config)) return;
    const name = this.config.family === "convnext" ? "ConvNeXt" : "ResNet";
    throw new ConfigError(`Cannot show attention: a ${name} has none; leave it out, or choose a vision transformer`, {
      keyPath: "attention",
    });
  }

  /** Parameters and running statistics, read in place. */
  get params(): ReadonlyMap<string, Float32Array> {
    return this.#options.params;
  }

  /** Images `[b, c, y, x]`, normalised, -> features. Throws ConfigError for attention of a convolutional network, which has none. */
  async encode(images: Float32Array, { pool, sizePx, attention = false, layers, signal }: EncodeRequest): Promise<Encoded> {
    this.checkAttention(attention);
    const { height, width } = sidesOf(sizePx);
    const program = this.#program({
      pool,
      sizePx,
      attention,
      layers,
      batch: images.length / ((this.config.channels ?? 3) * height * width),
    });
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
