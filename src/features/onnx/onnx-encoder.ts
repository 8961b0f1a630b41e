/** @file An ONNX graph that turns pictures into features: ours, and those that transformers, optimum and `torch.onnx.export` write. */
import { ConfigError, FormatError, type HostTensor } from "../../core/index.ts";
import { evaluate, type OrtEnv, type OrtSession } from "../../engine/runtime/index.ts";
import type { Grid } from "../../nn/index.ts";
import type { Encoded, EncodeRequest } from "../encoder.ts";
import { type OutputName, outputShapes } from "../export/outputs.ts";
import { checkPictureSize } from "../fit.ts";
import type { IdentitySink, PictureEncoder } from "../picture-encoder.ts";
import { isTokenPooling, type PictureSize, type Pooling, sidesOf } from "../trace-encoder.ts";
import type { OnnxLayout } from "./layout.ts";
import { type Given, poolOutputs } from "./pool.ts";
import type { OnnxPorts } from "./ports.ts";

export interface OnnxEncoderOptions {
  readonly env: OrtEnv;
  /** Taken: disposed of with the encoder. */
  readonly session: OrtSession;
  readonly ports: OnnxPorts;
  readonly channels: number;
  readonly layout: OnnxLayout;
  /** The file, for messages. */
  readonly path: string;
  /** Tells the file from others. */
  readonly fingerprint: string;
  /** Whether `pooler_output` is the class token. */
  readonly isPooled: boolean;
}

/** Features of an ONNX graph: those of its last block. */
export class OnnxEncoder implements PictureEncoder {
  readonly width: number;
  readonly prefix: number;
  readonly heads: number;
  readonly patchSizePx: number;
  readonly takesPartialPatches = false;
  readonly #options: OnnxEncoderOptions;

  constructor(options: OnnxEncoderOptions) {
    this.#options = options;
    ({ width: this.width, prefix: this.prefix, heads: this.heads, patchSizePx: this.patchSizePx } = options.layout);
  }

  tokens(pool: Pooling, sizePx: PictureSize): number {
    if (!isTokenPooling(pool)) return 1;
    if (pool === "registers") return this.prefix > 1 ? this.prefix - 1 : this.#cannot(pool);
    const { rows, columns } = this.grid(sizePx);
    return rows * columns + (pool === "all" ? this.prefix : 0);
  }

  grid(sizePx: PictureSize): Grid {
    const { height, width } = sidesOf(sizePx);
    const { gridSide } = this.#options.layout;
    return { rows: gridSide(height), columns: gridSide(width) };
  }

  dim(pool: Pooling): number {
    return this.width * (pool === "cls+mean" ? 2 : 1);
  }

  blocks(layers: readonly number[] = [-1]): readonly number[] {
    if (layers.length === 1 && layers[0] === -1) return layers;
    throw new ConfigError(
      `Cannot take layers ${layers.join(",")}: "${this.#options.path}" is a graph and gives its last block only; leave the layers out, or use the weights`,
      { keyPath: "layers" },
    );
  }

  checkSize(sizePx: number): void {
    checkPictureSize(sizePx, this.patchSizePx);
    this.#checkFixed(sizePx);
  }

  checkAttention(isWanted: boolean): void {
    const { ports, path } = this.#options;
    if (!isWanted || ports.outputs.has("attention")) return;
    throw new ConfigError(
      `Cannot show attention: "${path}" has no such output; export it with --outputs last_hidden_state,attention, or use the weights`,
      { keyPath: "attention" },
    );
  }

  writeIdentity(to: IdentitySink): void {
    to.update(this.#options.fingerprint);
  }

  /** Throws ConfigError for a picture of another size than the graph's own. */
  #checkFixed(sizePx: PictureSize): void {
    const { input } = this.#options.ports;
    const { height, width } = sidesOf(sizePx);
    const fits = (input.height ?? height) === height && (input.width ?? width) === width;
    if (fits) return;
    throw new ConfigError(
      `Cannot embed pictures of ${width}x${height} px: "${this.#options.path}" takes ${input.width ?? "any"}x${input.height ?? "any"} px only; leave the size and the way of resizing out, or export it with --dynamic`,
      { keyPath: "imageSizePx" },
    );
  }

  #cannot(pool: Pooling): never {
    const { ports, path } = this.#options;
    throw new ConfigError(
      `Cannot give features "${pool}": the outputs of "${path}" are ${[...ports.outputs.keys()].join(", ")}; choose another --pool, or export it with --outputs last_hidden_state`,
      { keyPath: "pool" },
    );
  }

  async encode(images: Float32Array, { pool, sizePx, attention = false, layers, signal }: EncodeRequest): Promise<Encoded> {
    this.checkAttention(attention);
    this.blocks(layers);
    this.#checkFixed(sizePx);
    const { height, width } = sidesOf(sizePx);
    const size = this.#options.channels * height * width;
    const total = images.length / size;
    const step = this.#options.ports.input.batch ?? total;
    const features = new Float32Array(total * this.tokens(pool, sizePx) * this.dim(pool));
    const seen = attention ? new Float32Array(total * this.heads * this.tokens("patch", sizePx)) : undefined;
    for (let from = 0; from < total; from += step) {
      signal?.throwIfAborted();
      const batch = new Float32Array(step * size); // what is missing of a fixed batch is zeros
      batch.set(images.subarray(from * size, (from + step) * size));
      const given = this.#checked(await runOnnx(this.#options, batch, [step, this.#options.channels, height, width]), sizePx);
      const found = poolOutputs(given, pool, { prefix: this.prefix, isPooled: this.#options.isPooled }) ?? this.#cannot(pool);
      const keep = (all: Float32Array, some: Float32Array): void => {
        const share = all.length / total;
        all.set(some.subarray(0, Math.min(step, total - from) * share), from * share);
      };
      keep(features, found);
      if (seen !== undefined) keep(seen, attentionOf(given));
    }
    return { features, attention: seen };
  }

  /** Throws FormatError for outputs that are not of the tokens expected. */
  #checked(given: Given, sizePx: PictureSize): Given {
    const { width, prefix, heads } = this;
    const wanted = outputShapes({ width, prefix, heads, patches: this.tokens("patch", sizePx) });
    for (const [name, { shape }] of given)
      if (shape.slice(1).join() !== wanted[name].join())
        throw new FormatError(
          `Cannot embed: "${this.#options.path}" gives ${name} [${shape.join(", ")}], [${[shape[0], ...wanted[name]].join(", ")}] was expected; give the config.json it was exported with, or its --arch`,
          { file: this.#options.path },
        );
    return given;
  }

  [Symbol.dispose](): void {
    this.#options.session[Symbol.dispose]();
  }
}

/** Outputs of pictures by name. Rejects with FormatError where the graph does not run. */
export async function runOnnx(
  { env, session, path }: Pick<OnnxEncoderOptions, "env" | "session" | "path">,
  images: Float32Array,
  shape: readonly number[],
): Promise<Given> {
  using input = env.tensor(images, "f32", shape);
  try {
    const found = await evaluate(session, [input]);
    return new Map(session.names.outputs.map((name, i) => [name as OutputName, found[i]!])); // sessions are opened with such names; as many outputs
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.replace(/^[^:]*: /, "") : String(cause);
    throw new FormatError(
      `Cannot run "${path}" on pictures [${shape.join(", ")}]: ${said}; use another size of pictures, or export it again`,
      {
        file: path,
        cause,
      },
    );
  }
}

function attentionOf(given: Given): Float32Array {
  const found: HostTensor | undefined = given.get("attention");
  return found?.data instanceof Float32Array ? found.data : new Float32Array(0);
}
