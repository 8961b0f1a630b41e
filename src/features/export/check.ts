/** @file Runs an exported file on random pictures and holds its outputs against those of its source. */
import { FormatError, Rng, type Shape, sizeOf } from "../../core/index.ts";
import type { OrtEnv } from "../../engine/runtime/index.ts";
import type { Encoder } from "../encoder.ts";
import { poolOutputs } from "../onnx/pool.ts";
import { type PictureSize, type Pooling, sidesOf } from "../trace-encoder.ts";
import { compareRows, type Difference, isWithin, type Tolerance, worse } from "./compare.ts";
import { INPUT_NAME, type OutputName, outputShapes } from "./outputs.ts";
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

/** The pooling that an output is. */
const POOLING: { readonly [K in Exclude<OutputName, "attention">]: Pooling } = {
  last_hidden_state: "all",
  pooler_output: "cls",
  cls: "cls",
  registers: "registers",
  patches: "patch",
  mean: "mean",
  "cls+mean": "cls+mean",
};

/** The source's own outputs, from its tokens. */
async function expected(encoder: Encoder, images: Float32Array, { batch, sizePx, outputs }: ExpectedOptions): Promise<readonly Expected[]> {
  const { width, heads, prefix } = encoder;
  const { features, attention } = await encoder.encode(images, { pool: "all", sizePx, attention: outputs.includes("attention") });
  const shapes = outputShapes({ width, prefix, heads, patches: encoder.tokens("patch", sizePx) });
  const shapeOf = (name: OutputName): readonly number[] => [batch, ...shapes[name]];
  // the encoder's own buffer changes at the next call
  const all = { dtype: "f32", shape: shapeOf("last_hidden_state"), data: features.slice() } as const;
  const given = new Map([["last_hidden_state" as const, all]]);
  const dataOf = (name: OutputName): Float32Array =>
    (name === "attention" ? attention?.slice() : poolOutputs(given, POOLING[name], { prefix, isPooled: true })) ?? new Float32Array(0);
  return outputs.map((name) => ({ name, shape: shapeOf(name), data: dataOf(name) }));
}
