/** @file For tests: tensors under Hugging Face's or timm's names -> ours (Meta's). Weights and gradients of weights alike. */
import { type HostTensor, InternalError, sizeOf } from "../../core/index.ts";
import type { ViTConfig } from "../index.ts";

type Rule = readonly [from: RegExp, to: string];
export type Named = ReadonlyMap<string, HostTensor>;

function need(tensors: Named, name: string): HostTensor {
  const tensor = tensors.get(name);
  if (tensor === undefined)
    throw new InternalError(`Cannot rename tensors: "${name}" is missing; there are ${[...tensors.keys()].join(", ")}`);
  return tensor;
}

/** Parts joined along their first axis; an absent one is zeros of the first one's shape. */
function join(parts: readonly (HostTensor | undefined)[]): HostTensor {
  const [first] = parts.filter((p) => p !== undefined);
  if (first === undefined) throw new InternalError("Cannot join tensors: all are absent");
  const [rows = 1, ...rest] = first.shape;
  const size = sizeOf(first.shape);
  const data = new Float32Array(parts.length * size);
  parts.forEach((p, i) => data.set((p?.data as Float32Array | undefined) ?? new Float32Array(size), i * size)); // all of the goldens are float32
  return { dtype: "f32", shape: [parts.length * rows, ...rest], data };
}

/** Renames by every rule in order; a name that none matches stays. */
function rename(tensors: Named, rules: readonly Rule[]): Map<string, HostTensor> {
  return new Map([...tensors].map(([name, t]) => [rules.reduce((n, [from, to]) => n.replace(from, to), name), t]));
}

/** Joins `blocks.i.attn.{parts}.{weight,bias}` to `blocks.i.attn.qkv.*`. */
function joinQkv(tensors: Map<string, HostTensor>, parts: readonly [string, string, string]): Map<string, HostTensor> {
  const out = new Map([...tensors].filter(([name]) => !parts.some((p) => name.includes(`.attn.${p}.`))));
  for (const name of tensors.keys()) {
    const block = /^(blocks\.\d+)\.norm1\.weight$/.exec(name)?.[1];
    if (block === undefined) continue;
    for (const kind of ["weight", "bias"]) {
      const found = parts.map((p) => tensors.get(`${block}.attn.${p}.${kind}`));
      if (found.some((t) => t !== undefined)) out.set(`${block}.attn.qkv.${kind}`, join(found));
    }
  }
  return out;
}

/** `Dinov2Model` and `Dinov2WithRegistersModel`. */
export function fromHuggingFaceV2(tensors: Named): Map<string, HostTensor> {
  const named = rename(tensors, [
    [/^embeddings\.position_embeddings$/, "pos_embed"],
    [/^embeddings\.patch_embeddings\.projection/, "patch_embed.proj"],
    [/^embeddings\./, ""],
    [/^encoder\.layer\./, "blocks."],
    [/attention\.output\.dense/, "attn.proj"],
    [/attention\.attention\./, "attn."],
    [/layer_scale(\d)\.lambda1/, "ls$1.gamma"],
    [/mlp\.weights_in/, "mlp.w12"],
    [/mlp\.weights_out/, "mlp.w3"],
    [/^layernorm/, "norm"],
  ]);
  return joinQkv(named, ["query", "key", "value"]);
}

/** `DINOv3ViTModel`. */
export function fromHuggingFaceV3(tensors: Named, { ffn }: Pick<ViTConfig, "ffn">): Map<string, HostTensor> {
  const gated = ffn === "swiglu";
  const named = rename(tensors, [
    [/^embeddings\.register_tokens/, "storage_tokens"],
    [/^embeddings\.patch_embeddings/, "patch_embed.proj"],
    [/^embeddings\./, ""],
    [/^layer\./, "blocks."],
    [/attention\.o_proj/, "attn.proj"],
    [/attention\./, "attn."],
    [/layer_scale(\d)\.lambda1/, "ls$1.gamma"],
    [/mlp\.gate_proj/, "mlp.w1"],
    [/mlp\.up_proj/, gated ? "mlp.w2" : "mlp.fc1"],
    [/mlp\.down_proj/, gated ? "mlp.w3" : "mlp.fc2"],
  ]);
  const token = named.get("mask_token");
  if (token !== undefined) named.set("mask_token", { ...token, shape: token.shape.slice(1) });
  return joinQkv(named, ["q_proj", "k_proj", "v_proj"]);
}

const TIMM_FFN: { readonly [K in NonNullable<ViTConfig["ffn"]>]: readonly Rule[] } = {
  mlp: [],
  "swiglu-fused": [
    [/mlp\.fc1/, "mlp.w12"],
    [/mlp\.fc2/, "mlp.w3"],
  ],
  swiglu: [
    [/mlp\.fc1_g/, "mlp.w1"],
    [/mlp\.fc1_x/, "mlp.w2"],
    [/mlp\.fc2/, "mlp.w3"],
  ],
};

/** timm's models of DINOv2 and DINOv3. They have no mask token: it is added, as zeros. */
export function fromTimm(tensors: Named, { ffn = "mlp", registerName = "register_tokens" }: ViTConfig): Map<string, HostTensor> {
  const named = rename(tensors, [
    [/^reg_token$/, registerName],
    [/gamma_(\d)$/, "ls$1.gamma"],
    [/attn\.([qv])_bias$/, "attn.$1.bias"],
    ...TIMM_FFN[ffn],
  ]);
  const cls = need(named, "cls_token");
  const d = cls.shape[2] ?? 1;
  named.set("mask_token", { dtype: "f32", shape: [1, d], data: new Float32Array(d) });
  return withClassPosition(joinQkv(named, ["q", "k", "v"]), d);
}

/** timm's models with registers store no position of the class token: it is zero. */
function withClassPosition(tensors: Map<string, HostTensor>, d: number): Map<string, HostTensor> {
  const pos = tensors.get("pos_embed");
  const n = pos?.shape[1] ?? 0;
  if (pos === undefined || Number.isInteger(Math.sqrt(n - 1))) return tensors;
  const data = new Float32Array((n + 1) * d);
  data.set(pos.data as Float32Array, d); // all of the goldens are float32
  return tensors.set("pos_embed", { dtype: "f32", shape: [1, n + 1, d], data });
}
