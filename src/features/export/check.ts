/** @file Runs an exported file on random pictures and holds its outputs against those of its source. */
import { FormatError, Rng, type Shape, sizeOf } from "../../core/index.ts";
import type { OrtEnv } from "../../engine/runtime/index.ts";
import { backboneWidth, isViT, prefixTokens } from "../../nn/index.ts";
import type { Encoder } from "../encoder.ts";
import { type PictureSize, sidesOf } from "../trace-encoder.ts";
import { compareRows, type Difference, isWithin, type Tolerance, worse } from "./compare.ts";
import { INPUT_NAME, type OutputName } from "./outputs.ts";
import type { WeightDType } from "./stored-weights.ts";

/** What may differ: float32 by the order of sums; float16 and int8 by the rounding of weights. */
export const TOLERANCES: { readonly [K in WeightDType]: Tolerance } = {
  f32: { maxRelError: 1e-4, worstCosine: 0.99999 },
  f16: { maxRelError: Infinity, worstCosine: 0.9999 },
  int8: { maxRelError: Infinity, worstCosine: 0.98 },
};

export interface CheckCase {
  readonly batch: number;
  readonly sizePx: PictureSize;
}

/** Outputs of pictures: what is checked. `shapes` are those of the source. */
export type Run = (images: Float32Array, what: CheckCase & { readonly shapes: readonly Shape[] }) => Promise<readonly Float32Array[]>;

export interface CheckOptions {
  /** The source. */
  readonly encoder: Encoder;
  readonly outputs: readonly OutputName[];
  readonly cases: readonly CheckCase[];
  readonly dtype: WeightDType;
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
}

/** What was found, of all outputs together and of each. */
export interface CheckResult extends Difference {
  readonly pictures: number;
  readonly outputs: Readonly<Record<string, Difference>>;
}

const PERFECT: Difference = { maxAbsError: 0, maxRelError: 0, worstCosine: 1 };

/** Runs an ONNX model. Rejects with OrtError where it cannot. */
export function onnxRun(
  env: OrtEnv,
  model: { readonly bytes: Uint8Array; readonly externalDir?: string | undefined },
  outputs: readonly OutputName[],
): { readonly run: Run; readonly session: Disposable } {
  const session = env.session(model.bytes, { inputs: [INPUT_NAME], outputs }, { externalDir: model.externalDir, quiet: true });
  const run: Run = async (images, { batch, sizePx, shapes }) => {
    const { height, width } = sidesOf(sizePx);
    using input = env.tensor(images, "f32", [batch, 3, height, width]);
    const made = shapes.map((shape) => new Float32Array(sizeOf(shape)));
    const tensors = made.map((data, i) => env.tensor(data, "f32", shapes[i] ?? []));
    try {
      await session.run([input], tensors);
    } finally {
      for (const tensor of tensors) tensor[Symbol.dispose]();
    }
    return made;
  };
  return { run, session };
}

/** Runs an encoder. */
export function encoderRun(encoder: Encoder, outputs: readonly OutputName[]): Run {
  return async (images, { batch, sizePx }) => (await expected(encoder, images, { batch, sizePx, outputs })).map(({ data }) => data);
}

/**
 * Compares on pictures of seeded noise. Throws FormatError where an output is further away than `TOLERANCES` allow; rejects with what
 * `run` rejects with.
 */
export async function checkOutputsOf(run: Run, options: CheckOptions): Promise<CheckResult> {
  const { outputs, cases, dtype, seed, encoder, signal } = options;
  const rng = new Rng(seed);
  const found = new Map<OutputName, Difference>();
  for (const [index, { batch, sizePx }] of cases.entries()) {
    signal?.throwIfAborted();
    const { height, width } = sidesOf(sizePx);
    const draws = rng.split(`export/${index}`);
    const images = Float32Array.from({ length: batch * 3 * height * width }, () => draws.normal(0, 1));
    const wanted = await expected(encoder, images, { batch, sizePx, outputs });
    const got = await run(images, { batch, sizePx, shapes: wanted.map(({ shape }) => shape) });
    wanted.forEach(({ name, shape, data }, i) => {
      const difference = compareRows(got[i] ?? new Float32Array(0), data, shape.at(-1) ?? 1);
      found.set(name, worse(found.get(name) ?? PERFECT, difference));
    });
  }
  const pictures = cases.reduce((n, c) => n + c.batch, 0);
  return { ...judged(found, dtype), pictures, outputs: Object.fromEntries(found) };
}

function judged(found: ReadonlyMap<string, Difference>, dtype: WeightDType): Difference {
  for (const [name, difference] of found) {
    if (isWithin(difference, TOLERANCES[dtype])) continue;
    const { maxAbsError, worstCosine } = difference;
    throw new FormatError(
      `Cannot export: "${name}" differs from the source by up to ${maxAbsError.toPrecision(3)}, worst cosine ${worstCosine.toPrecision(6)}, wanted ${TOLERANCES[dtype].worstCosine} for ${dtype}; use ${dtype === "f32" ? "another model, and report this one" : "a wider --dtype"}`,
    );
  }
  return [...found.values()].reduce(worse, PERFECT);
}

interface Expected {
  readonly name: OutputName;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

interface ExpectedOptions extends CheckCase {
  readonly outputs: readonly OutputName[];
}

/** The source's own outputs, from its tokens. */
async function expected(encoder: Encoder, images: Float32Array, { batch, sizePx, outputs }: ExpectedOptions): Promise<readonly Expected[]> {
  const { config, heads } = encoder;
  const wantsAttention = outputs.includes("attention");
  const { features, attention } = await encoder.encode(images, { pool: "all", sizePx, attention: wantsAttention });
  const d = backboneWidth(config);
  const t = features.length / (batch * d);
  const first = isViT(config) ? prefixTokens(config) : 1;
  const tokens = { features: features.slice(), b: batch, t, d }; // the encoder's own buffer changes at the next call
  const cls = rows(tokens, 0, 1);
  const mean = meanOf(tokens, first);
  const both = Float32Array.from({ length: batch * 2 * d }, (_, i) => {
    const [b, k] = [Math.floor(i / (2 * d)), i % (2 * d)];
    return (k < d ? cls[b * d + k] : mean[b * d + k - d]) ?? 0;
  });
  const made: { readonly [K in OutputName]: Omit<Expected, "name"> } = {
    last_hidden_state: { shape: [batch, t, d], data: tokens.features },
    pooler_output: { shape: [batch, d], data: cls },
    cls: { shape: [batch, d], data: cls },
    registers: { shape: [batch, first - 1, d], data: rows(tokens, 1, first) },
    patches: { shape: [batch, t - first, d], data: rows(tokens, first, t) },
    mean: { shape: [batch, d], data: mean },
    "cls+mean": { shape: [batch, 2 * d], data: both },
    attention: { shape: [batch, heads, t - first], data: attention?.slice() ?? new Float32Array(0) },
  };
  return outputs.map((name) => ({ name, ...made[name] }));
}

interface TokenRows {
  readonly features: Float32Array;
  readonly b: number;
  readonly t: number;
  readonly d: number;
}

/** Tokens `from` to before `to` of each picture. */
function rows({ features, b, t, d }: TokenRows, from: number, to: number): Float32Array {
  const out = new Float32Array(b * (to - from) * d);
  for (let i = 0; i < b; i++) out.set(features.subarray((i * t + from) * d, (i * t + to) * d), i * (to - from) * d);
  return out;
}

/** The mean of the tokens from `first` on. */
function meanOf({ features, b, t, d }: TokenRows, first: number): Float32Array {
  return Float32Array.from({ length: b * d }, (_, i) => {
    const [picture, k] = [Math.floor(i / d), i % d];
    let sum = 0;
    for (let token = first; token < t; token++) sum += features[(picture * t + token) * d + k] ?? 0;
    return sum / (t - first);
  });
}
