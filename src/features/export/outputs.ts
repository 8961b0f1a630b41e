/** @file What an exported network gives: its outputs by name, and the graph that makes them. */
import { ConfigError, InternalError, nameHint } from "../../core/index.ts";
import type { Graph } from "../../engine/ir/index.ts";
import { Builder, concat, reduceMean, type Tensor } from "../../engine/trace/index.ts";
import { applyViT, type BackboneConfig, backboneSpecs, isViT, type Params, traceParams, type ViTConfig } from "../../nn/index.ts";
import { gridOfSize, type PictureSize, sidesOf } from "../trace-encoder.ts";
import { clsAttention, mapTokens, type Tokens, vitTokens } from "../trace-tokens.ts";

/**
 * `last_hidden_state` `[b, t, d]` (class token, registers, patches) and `pooler_output` `[b, d]` (the class token) are what transformers
 * calls them; `cls` `[b, d]`, `registers` `[b, r, d]`, `patches` `[b, p, d]`; `mean` `[b, d]` over the patches; `cls+mean` `[b, 2d]`;
 * `attention` `[b, h, p]` of the class token over the patches in the last block. All final-normed.
 */
export const OUTPUT_NAMES = ["last_hidden_state", "pooler_output", "cls", "registers", "patches", "mean", "cls+mean", "attention"] as const;
export type OutputName = (typeof OUTPUT_NAMES)[number];

/** What tells the shapes of outputs. */
export interface OutputSizes {
  /** Numbers in a token. */
  readonly width: number;
  /** Tokens before the patches. */
  readonly prefix: number;
  readonly patches: number;
  readonly heads: number;
}

/** Shapes by output, of one picture. */
export function outputShapes({ width: d, prefix, patches, heads }: OutputSizes): { readonly [K in OutputName]: readonly number[] } {
  return {
    last_hidden_state: [prefix + patches, d],
    pooler_output: [d],
    cls: [d],
    registers: [prefix - 1, d],
    patches: [patches, d],
    mean: [d],
    "cls+mean": [2 * d],
    attention: [heads, patches],
  };
}

/** The name of an exported network's input: normalised pictures `[b, 3, y, x]`. */
export const INPUT_NAME = "pixel_values";

const fail = (state: string, todo: string): never => {
  throw new ConfigError(`Cannot export outputs: ${state}; ${todo}`, { keyPath: "outputs" });
};

/** Outputs that the network has. Throws ConfigError for unknown names, none, one twice, and what the network does not have. */
export function checkOutputs(config: BackboneConfig, names: readonly string[]): readonly OutputName[] {
  if (names.length === 0) fail("none is named", `choose of ${OUTPUT_NAMES.join(", ")}`);
  const known = names.map((name) => OUTPUT_NAMES.find((n) => n === name) ?? fail(`there is no "${name}"`, nameHint(name, OUTPUT_NAMES)));
  if (new Set(known).size < known.length) fail("one comes twice", "name each once");
  const registers = isViT(config) ? (config.registers ?? 0) : 0;
  if (known.includes("registers") && registers === 0) fail("the network has no registers", "leave them out");
  if (known.includes("attention") && !isViT(config))
    fail("a convolutional network has no attention", "leave it out, or choose a vision transformer");
  return known;
}

export interface OutputRequest {
  readonly outputs: readonly OutputName[];
  readonly batch: number;
  readonly sizePx: PictureSize;
}

/** What outputs are made of. */
interface Made extends Tokens {
  readonly attention?: Tensor | undefined;
}

function given(tensor: Tensor | undefined): Tensor {
  if (tensor === undefined) throw new InternalError("Cannot export: an output was not computed; check outputs against the network first");
  return tensor;
}

const MAKE: { readonly [K in OutputName]: (made: Made) => Tensor } = {
  last_hidden_state: ({ all }) => given(all),
  pooler_output: ({ cls }) => cls,
  cls: ({ cls }) => cls,
  registers: ({ registers }) => given(registers),
  patches: ({ patches }) => given(patches),
  mean: ({ patches }) => reduceMean(given(patches), [1]),
  "cls+mean": ({ cls, patches }) => concat([cls, reduceMean(given(patches), [1])], 1),
  attention: ({ attention }) => given(attention),
};

const CLS_ALONE: ReadonlySet<OutputName> = new Set<OutputName>(["cls", "pooler_output", "attention"]);

/** The network from `pixel_values` `[batch, 3, y, x]` to its outputs, parameters and running statistics by their own names. */
export function traceOutputs(config: BackboneConfig, what: OutputRequest): Graph {
  const builder = new Builder();
  const params = traceParams(builder, backboneSpecs(config));
  const { height, width } = sidesOf(what.sizePx);
  const images = builder.input(INPUT_NAME, [what.batch, config.channels ?? 3, height, width]);
  const made = isViT(config) ? madeByViT(params, images, { ...what, config }) : mapTokens(params, images, { config, prefix: "" });
  for (const name of what.outputs) builder.output(name, MAKE[name](made));
  return builder.graph();
}

function madeByViT(params: Params, images: Tensor, { config, outputs, sizePx }: OutputRequest & { readonly config: ViTConfig }): Made {
  let attention: Tensor | undefined;
  const onAttention = (p: Tensor): void => void (attention = clsAttention(p, config, gridOfSize(config, sizePx)));
  const tokens = applyViT(params, images, {
    config,
    output: outputs.every((name) => CLS_ALONE.has(name)) ? "cls" : "tokens",
    ...(outputs.includes("attention") ? { onAttention } : {}),
  });
  return { ...vitTokens(tokens, config), attention };
}
