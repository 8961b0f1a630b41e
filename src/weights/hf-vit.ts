/** @file DINO's ViT under Hugging Face's names (`ViTModel`), both ways. */
import { FormatError, type HostTensor } from "../core/index.ts";
import type { ViTConfig } from "../nn/index.ts";
import type { NamedTensors } from "./tensor-bytes.ts";

const TOP: readonly (readonly [meta: string, hf: string])[] = [
  ["cls_token", "embeddings.cls_token"],
  ["pos_embed", "embeddings.position_embeddings"],
  ["patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight"],
  ["patch_embed.proj.bias", "embeddings.patch_embeddings.projection.bias"],
  ["norm.weight", "layernorm.weight"],
  ["norm.bias", "layernorm.bias"],
];
const BLOCK: readonly (readonly [meta: string, hf: string])[] = [
  ["norm1", "layernorm_before"],
  ["attn.proj", "attention.output.dense"],
  ["norm2", "layernorm_after"],
  ["mlp.fc1", "intermediate.dense"],
  ["mlp.fc2", "output.dense"],
];
const QKV = ["query", "key", "value"] as const;
const KINDS = ["weight", "bias"] as const;

function namePairs(depth: number): readonly (readonly [string, string])[] {
  const blocks = Array.from({ length: depth }, (_, i) =>
    BLOCK.flatMap(([meta, hf]) => KINDS.map((kind) => [`blocks.${i}.${meta}.${kind}`, `encoder.layer.${i}.${hf}.${kind}`] as const)),
  );
  return [...TOP, ...blocks.flat()];
}

function need(tensors: NamedTensors, name: string): HostTensor & { readonly data: Float32Array } {
  const found = tensors.get(name);
  if (!(found?.data instanceof Float32Array))
    throw new FormatError(`Cannot convert weights: "${name}" is missing or not float32; choose the architecture of these weights`);
  return { ...found, data: found.data };
}

/** Our (Meta's) names -> Hugging Face's; the joint qkv is split. */
export function toHuggingFace(tensors: NamedTensors, { depth, width }: Pick<ViTConfig, "depth" | "width">): Map<string, HostTensor> {
  const out = new Map<string, HostTensor>(namePairs(depth).map(([meta, hf]) => [hf, need(tensors, meta)]));
  for (let i = 0; i < depth; i++)
    for (const kind of KINDS) {
      const joint = need(tensors, `blocks.${i}.attn.qkv.${kind}`);
      const shape = kind === "weight" ? [width, width] : [width];
      const length = joint.data.length / 3;
      QKV.forEach((part, j) =>
        out.set(`encoder.layer.${i}.attention.attention.${part}.${kind}`, {
          dtype: "f32",
          shape,
          data: joint.data.subarray(j * length, (j + 1) * length),
        }),
      );
    }
  return out;
}

/** Hugging Face's names -> ours; q, k, v are joined. A leading `vit.` is taken off. */
export function fromHuggingFace(given: NamedTensors, { depth, width }: Pick<ViTConfig, "depth" | "width">): Map<string, HostTensor> {
  const tensors = new Map([...given].map(([name, t]) => [name.replace(/^vit\./, ""), t]));
  const out = new Map<string, HostTensor>(namePairs(depth).map(([meta, hf]) => [meta, need(tensors, hf)]));
  for (let i = 0; i < depth; i++)
    for (const kind of KINDS) {
      const parts = QKV.map((part) => need(tensors, `encoder.layer.${i}.attention.attention.${part}.${kind}`).data);
      const data = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
      parts.forEach((p, j) => data.set(p, j * p.length));
      out.set(`blocks.${i}.attn.qkv.${kind}`, { dtype: "f32", shape: kind === "weight" ? [3 * width, width] : [3 * width], data });
    }
  return out;
}

/** `config.json` of Hugging Face's `ViTModel`. */
export function vitModelConfig(vit: ViTConfig): object {
  const { width, depth, heads, mlpRatio, imageSizePx, patchSizePx, layerNormEps } = vit;
  return {
    architectures: ["ViTModel"],
    model_type: "vit",
    hidden_size: width,
    num_hidden_layers: depth,
    num_attention_heads: heads,
    intermediate_size: Math.round(width * mlpRatio),
    image_size: imageSizePx,
    patch_size: patchSizePx,
    num_channels: 3,
    qkv_bias: true,
    hidden_act: "gelu",
    hidden_dropout_prob: 0,
    attention_probs_dropout_prob: 0,
    initializer_range: 0.02,
    layer_norm_eps: layerNormEps,
    torch_dtype: "float32",
  };
}
