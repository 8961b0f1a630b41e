/**
 * @file LoRA: low-rank additions to a frozen ViT's linear layers, and their merging into plain weights.
 * Hu et al., LoRA (2021), §4.1: `h = W x + (α/r) B A x`; A starts as U(±1/√in) (Kaiming-uniform with a = √5, as in the published code), B at 0.
 */
import { ConfigError, ShapeError } from "../core/index.ts";
import { stopGradient, type Tensor } from "../engine/trace/index.ts";
import { ffnLayers, type LinearShape } from "./ffn.ts";
import type { LowRank, Params, ParamSpec } from "./params.ts";
import { checkViT, type ViTConfig } from "./vit-config.ts";

/** A group of linear layers of every block. */
export type LoraTarget = "attn.qkv" | "attn.proj" | "mlp";

export interface LoraConfig {
  readonly rank: number;
  /** The addition is scaled by `alpha / rank`. */
  readonly alpha: number;
  readonly targets: readonly [LoraTarget, ...LoraTarget[]];
}

const LAYERS: { readonly [K in LoraTarget]: (config: ViTConfig) => readonly LinearShape[] } = {
  "attn.qkv": ({ width }) => [{ name: "attn.qkv", in: width, out: 3 * width }],
  "attn.proj": ({ width }) => [{ name: "attn.proj", in: width, out: width }],
  mlp: (config) => ffnLayers(config).map((layer) => ({ ...layer, name: `mlp.${layer.name}` })),
};
const DOWN = "lora_A";
const UP = "lora_B";

function checkScale({ rank, alpha }: Pick<LoraConfig, "rank" | "alpha">): void {
  if (!Number.isInteger(rank) || rank < 1)
    throw new ConfigError(`Cannot adapt a network: rank is ${rank}; give a whole number from 1`, { keyPath: "lora.rank" });
  if (!(Number.isFinite(alpha) && alpha > 0))
    throw new ConfigError(`Cannot adapt a network: alpha is ${alpha}; give a positive number`, { keyPath: "lora.alpha" });
}

/** The adapted layers by their full names. */
function adapted(vit: ViTConfig, { targets }: LoraConfig): LinearShape[] {
  checkViT(vit);
  const unique = [...new Set(targets)];
  const odd = unique.find((t) => !Object.hasOwn(LAYERS, t));
  if (odd !== undefined || unique.length === 0)
    throw new ConfigError(`Cannot adapt a network: targets are "${targets.join('", "')}"; give some of ${Object.keys(LAYERS).join(", ")}`, {
      keyPath: "lora.targets",
    });
  const layers = unique.flatMap((t) => LAYERS[t](vit));
  return Array.from({ length: vit.depth }, (_, i) => layers.map((layer) => ({ ...layer, name: `blocks.${i}.${layer.name}` }))).flat();
}

/** The adapters' parameters: for each layer `LAYER.lora_A` `[r, in]` and `LAYER.lora_B` `[out, r]`. Throws ConfigError. */
export function loraSpecs(vit: ViTConfig, lora: LoraConfig): ParamSpec[] {
  checkScale(lora);
  const { rank } = lora;
  return adapted(vit, lora).flatMap((layer): ParamSpec[] => [
    { name: `${layer.name}.${DOWN}`, shape: [rank, layer.in], init: { kind: "uniform", bound: 1 / Math.sqrt(layer.in) } },
    { name: `${layer.name}.${UP}`, shape: [layer.out, rank], init: { kind: "zeros" } },
  ]);
}

/**
 * The network's parameters with adapters beside them: give the result to `applyViT`. No gradient reaches `params`; that of the adapters is
 * the only one, and no gradient of a full weight is computed. Throws ConfigError.
 */
export function withLora(
  params: Params,
  adapters: Params,
  { config, lora }: { readonly config: ViTConfig; readonly lora: LoraConfig },
): Params {
  checkScale(lora);
  const names = new Set(adapted(config, lora).map((layer) => `${layer.name}.`));
  const scale = lora.alpha / lora.rank;
  const lowRank = (linear: string): LowRank | undefined =>
    names.has(linear) ? { down: adapters(linear + DOWN), up: adapters(linear + UP), scale } : undefined;
  return Object.assign((name: string): Tensor => stopGradient(params(name)), { lowRank });
}

/** `W + (α/r) B A` in float64: W `[out, in]`, A `[r, in]`, B `[out, r]`. */
function merged(
  weight: Float32Array,
  { down, up, rank, scale }: { readonly down: Float32Array; readonly up: Float32Array; readonly rank: number; readonly scale: number },
): Float32Array {
  const [columns, rows] = [down.length / rank, up.length / rank];
  const out = new Float32Array(weight.length);
  const sum = new Float64Array(columns);
  for (let o = 0; o < rows; o++) {
    sum.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = scale * up[o * rank + k]!; // o < rows, k < rank
      for (let i = 0; i < columns; i++) sum[i]! += factor * down[k * columns + i]!; // i < columns
    }
    for (let i = 0; i < columns; i++) out[o * columns + i] = weight[o * columns + i]! + sum[i]!; // i < columns
  }
  return out;
}

/**
 * Plain weights of an adapted network, for export: each adapted layer's weight with its addition, the others as they are. Both maps go by
 * name, under the same prefix if any. Throws ConfigError, ShapeError for adapters that do not fit, and RangeError for one without its layer.
 */
export function mergeLora(
  weights: ReadonlyMap<string, Float32Array>,
  adapters: ReadonlyMap<string, Float32Array>,
  { rank, alpha }: Pick<LoraConfig, "rank" | "alpha">,
): Map<string, Float32Array> {
  checkScale({ rank, alpha });
  const out = new Map(weights);
  for (const [name, down] of adapters) {
    if (!name.endsWith(DOWN)) continue;
    const layer = name.slice(0, -DOWN.length);
    const [weight, up] = [weights.get(`${layer}weight`), adapters.get(layer + UP)];
    if (weight === undefined || up === undefined)
      throw new RangeError(
        `Cannot merge "${name}": "${layer}${weight === undefined ? "weight" : UP}" is missing; give weights and adapters of one network`,
      );
    if (down.length % rank !== 0 || up.length % rank !== 0 || (down.length / rank) * (up.length / rank) !== weight.length)
      throw new ShapeError(
        `Cannot merge "${name}": ${down.length} and ${up.length} values of rank ${rank} do not make the ${weight.length} of the weight; give the rank it was trained with`,
      );
    out.set(`${layer}weight`, merged(weight, { down, up, rank, scale: alpha / rank }));
  }
  return out;
}
