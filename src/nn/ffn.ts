/** @file The feed-forward layer of a block: an MLP, or SwiGLU as DINOv2 and DINOv3 store it. DINO spec §2.3, §3.1. */
import { gelu, mul, sigmoid, split, type Tensor } from "../engine/trace/index.ts";
import { linear } from "./layers.ts";
import { type Params, scoped } from "./params.ts";
import { ffnHidden, type ViTConfig } from "./vit-config.ts";

type Ffn = NonNullable<ViTConfig["ffn"]>;

/** A linear layer by its key and widths. */
export interface LinearShape {
  readonly name: string;
  readonly in: number;
  readonly out: number;
}

const LAYERS: { readonly [K in Ffn]: (d: number, hidden: number) => readonly LinearShape[] } = {
  mlp: (d, hidden) => [
    { name: "fc1", in: d, out: hidden },
    { name: "fc2", in: hidden, out: d },
  ],
  "swiglu-fused": (d, hidden) => [
    { name: "w12", in: d, out: 2 * hidden },
    { name: "w3", in: hidden, out: d },
  ],
  swiglu: (d, hidden) => [
    { name: "w1", in: d, out: hidden },
    { name: "w2", in: d, out: hidden },
    { name: "w3", in: hidden, out: d },
  ],
};

/** The layer's linear layers, by their keys below `mlp.`. */
export function ffnLayers(config: ViTConfig): readonly LinearShape[] {
  return LAYERS[config.ffn ?? "mlp"](config.width, ffnHidden(config));
}

/** `silu(a) ⊙ b`, silu(a) = a σ(a). */
function gate(a: Tensor, b: Tensor): Tensor {
  return mul(mul(a, sigmoid(a)), b);
}

const APPLY: { readonly [K in Ffn]: (params: Params, x: Tensor) => Tensor } = {
  mlp: (params, x) => linear(scoped(params, "fc2."), gelu(linear(scoped(params, "fc1."), x))),
  "swiglu-fused": (params, x) => {
    const joint = linear(scoped(params, "w12."), x);
    const half = (joint.shape[1] ?? 2) / 2;
    const [a, b] = split(joint, 1, [half, half]) as [Tensor, Tensor]; // split in two
    return linear(scoped(params, "w3."), gate(a, b));
  },
  swiglu: (params, x) => linear(scoped(params, "w3."), gate(linear(scoped(params, "w1."), x), linear(scoped(params, "w2."), x))),
};

/** Rows `[n, d]` -> `[n, d]`. */
export function applyFfn(params: Params, x: Tensor, ffn: Ffn = "mlp"): Tensor {
  return APPLY[ffn](params, x);
}

/** Hidden width of SwiGLU: two thirds of `ratio · width`, up to a multiple of `align`. DINO spec §2.3 (ratio 4), §3.1. */
export function swigluHidden(width: number, { ratio, align = 8 }: { readonly ratio: number; readonly align?: number }): number {
  const plain = Math.floor((2 * Math.floor(width * ratio)) / 3);
  return Math.ceil(plain / align) * align;
}
