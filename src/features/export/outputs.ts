/** @file What an exported network gives: its outputs by name, and the graph that makes them. */
import { ConfigError, nameHint } from "../../core/index.ts";
import type { Graph } from "../../engine/ir/index.ts";
import { Builder, concat, reduceMean, reshape, slice, type Tensor } from "../../engine/trace/index.ts";
import {
  applyViT,
  type BackboneConfig,
  backboneFeatures,
  backboneSpecs,
  backboneState,
  isViT,
  type Params,
  prefixTokens,
  traceParams,
} from "../../nn/index.ts";
import { gridOfSize, type PictureSize, sidesOf } from "../trace-encoder.ts";

/**
 * `last_hidden_state` `[b, t, d]` (class token, registers, patches) and `pooler_output` `[b, d]` (the class token) are what transformers
 * calls them; `cls` `[b, d]`, `registers` `[b, r, d]`, `patches` `[b, p, d]`; `mean` `[b, d]` over the patches; `cls+mean` `[b, 2d]`;
 * `attention` `[b, h, p]` of the class token over the patches in the last block. All final-normed.
 */
export const OUTPUT_NAMES = ["last_hidden_state", "pooler_output", "cls", "registers", "patches", "mean", "cls+mean", "attention"] as const;
export type OutputName = (typeof OUTPUT_NAMES)[number];

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

/** What outputs are made of; `all` and `patches` are absent where only the class token was asked for. */
interface Made {
  readonly cls: Tensor;
  readonly all: Tensor;
  readonly patches: Tensor;
  readonly registers: Tensor;
  readonly attention: Tensor;
}

const MAKE: { readonly [K in OutputName]: (made: Made) => Tensor } = {
  last_hidden_state: ({ all }) => all,
  pooler_output: ({ cls }) => cls,
  cls: ({ cls }) => cls,
  registers: ({ registers }) => registers,
  patches: ({ patches }) => patches,
  mean: ({ patches }) => reduceMean(patches, [1]),
  "cls+mean": ({ cls, patches }) => concat([cls, reduceMean(patches, [1])], 1),
  attention: ({ attention }) => attention,
};

const CLS_ALONE: ReadonlySet<OutputName> = new Set<OutputName>(["cls", "pooler_output", "attention"]);

/** The network from `pixel_values` `[batch, 3, y, x]` to its outputs, parameters and running statistics by their own names. */
export function traceOutputs(config: BackboneConfig, what: OutputRequest): Graph {
  const builder = new Builder();
  const params = traceParams(builder, backboneSpecs(config));
  const { height, width } = sidesOf(what.sizePx);
  const images = builder.input(INPUT_NAME, [what.batch, config.channels ?? 3, height, width]);
  const made = isViT(config) ? madeByViT(params, images, { ...what, config }) : madeByConvolutions(params, images, config);
  for (const name of what.outputs) builder.output(name, MAKE[name](made));
  return builder.graph();
}

type ViT = Extract<BackboneConfig, { readonly patchSizePx: number }>;

function madeByViT(params: Params, images: Tensor, { config, outputs, batch, sizePx }: OutputRequest & { readonly config: ViT }): Made {
  const { rows, columns } = gridOfSize(config, sizePx);
  const [first, patches] = [prefixTokens(config), rows * columns];
  let attention: Tensor | undefined;
  const onAttention = (p: Tensor): void => {
    const queries = slice(slice(p, 2, [0, 1]), 3, [first, first + patches]);
    attention = reshape(queries, [batch, config.heads, patches]);
  };
  const alone = outputs.every((name) => CLS_ALONE.has(name));
  const tokens = applyViT(params, images, {
    config,
    output: alone ? "cls" : "tokens",
    ...(outputs.includes("attention") ? { onAttention } : {}),
  });
  if (alone) return { cls: tokens, all: tokens, patches: tokens, registers: tokens, attention: attention ?? tokens };
  const t = first + patches;
  return {
    cls: reshape(slice(tokens, 1, [0, 1]), [batch, config.width]),
    all: tokens,
    patches: slice(tokens, 1, [first, t]),
    registers: first === 1 ? tokens : slice(tokens, 1, [1, first]),
    attention: attention ?? tokens,
  };
}

function madeByConvolutions(params: Params, images: Tensor, config: BackboneConfig): Made {
  const { builder } = images;
  const running = new Map(backboneState(config).map((s) => [s.name, builder.input(s.name, s.shape, { kind: "state" })]));
  const state: Params = (name) => running.get(name) ?? params(name);
  const { cls, patches = cls } = backboneFeatures(params, images, { config, patches: true, ...(running.size > 0 ? { state } : {}) });
  const [b = 1, d = 1] = cls.shape;
  return { cls, all: concat([reshape(cls, [b, 1, d]), patches], 1), patches, registers: cls, attention: cls };
}
