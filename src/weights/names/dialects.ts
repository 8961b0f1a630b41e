/** @file How Meta, Hugging Face and timm name the parameters of the family's ViTs: tables. DINO spec §1.8, §2.7, §3.11. */
import { ConfigError, type Shape } from "../../core/index.ts";
import { type ParamSpec, type ViTConfig, vitSpecs } from "../../nn/index.ts";
import type { Link, Part } from "./links.ts";

/** Whose names. */
export type Naming = "meta" | "huggingface" | "timm";
/** A naming of one generation of ViTs. */
export type Dialect = "meta" | "hf-vit" | "hf-dinov2" | "hf-dinov3" | "timm" | "timm-rope";

interface Table {
  readonly naming: Naming;
  /** What stands for `blocks.`. */
  readonly blocks: string;
  /** Our name, or all of it but `.weight` and `.bias`, to theirs; outside blocks and, below `blocks.i.`, inside. What is not here has no place. */
  readonly top: Readonly<Record<string, string>>;
  readonly block: Readonly<Record<string, string>>;
  /** Where queries, keys and values are stored apart. */
  readonly qkv?: readonly [string, string, string];
  /** Names that may be there and are not the backbone's. */
  readonly ignored: RegExp;
}

const SAME_TOP = { cls_token: "cls_token", pos_embed: "pos_embed", "patch_embed.proj": "patch_embed.proj", norm: "norm" } as const;
const SAME_BLOCK = {
  norm1: "norm1",
  norm2: "norm2",
  "attn.qkv": "attn.qkv",
  "attn.proj": "attn.proj",
  "mlp.fc1": "mlp.fc1",
  "mlp.fc2": "mlp.fc2",
} as const;
const HF_EMBEDDINGS = {
  cls_token: "embeddings.cls_token",
  pos_embed: "embeddings.position_embeddings",
  mask_token: "embeddings.mask_token",
  register_tokens: "embeddings.register_tokens",
  "patch_embed.proj": "embeddings.patch_embeddings.projection",
  norm: "layernorm",
} as const;
const HF_SCALES = { "ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1" } as const;
const HF_QKV = ["attention.attention.query", "attention.attention.key", "attention.attention.value"] as const;
const HF_IGNORED = /^(?:pooler\.|classifier\.|(?:.*\.)?rope_embeddings\.)/;
const TIMM_IGNORED = /^(?:head\.|fc_norm\.|rope\.)/;
const TIMM_FUSED = { "mlp.w12": "mlp.fc1", "mlp.w3": "mlp.fc2" } as const;

export const TABLES: { readonly [K in Dialect]: Table } = {
  meta: {
    naming: "meta",
    blocks: "blocks.",
    top: {
      ...SAME_TOP,
      mask_token: "mask_token",
      register_tokens: "register_tokens",
      storage_tokens: "storage_tokens",
      local_cls_norm: "local_cls_norm",
      cls_norm: "cls_norm",
    },
    block: {
      ...SAME_BLOCK,
      "ls1.gamma": "ls1.gamma",
      "ls2.gamma": "ls2.gamma",
      "mlp.w12": "mlp.w12",
      "mlp.w1": "mlp.w1",
      "mlp.w2": "mlp.w2",
      "mlp.w3": "mlp.w3",
    },
    ignored: /^(?:head\.|rope_embed\.periods$|blocks\.\d+\.attn\.qkv\.bias_mask$)/,
  },
  "hf-vit": {
    naming: "huggingface",
    blocks: "encoder.layer.",
    top: HF_EMBEDDINGS,
    block: {
      norm1: "layernorm_before",
      norm2: "layernorm_after",
      "attn.proj": "attention.output.dense",
      "mlp.fc1": "intermediate.dense",
      "mlp.fc2": "output.dense",
    },
    qkv: HF_QKV,
    ignored: HF_IGNORED,
  },
  "hf-dinov2": {
    naming: "huggingface",
    blocks: "encoder.layer.",
    top: HF_EMBEDDINGS,
    block: {
      ...HF_SCALES,
      norm1: "norm1",
      norm2: "norm2",
      "attn.proj": "attention.output.dense",
      "mlp.fc1": "mlp.fc1",
      "mlp.fc2": "mlp.fc2",
      "mlp.w12": "mlp.weights_in",
      "mlp.w3": "mlp.weights_out",
    },
    qkv: HF_QKV,
    ignored: HF_IGNORED,
  },
  "hf-dinov3": {
    naming: "huggingface",
    blocks: "layer.",
    top: {
      cls_token: "embeddings.cls_token",
      mask_token: "embeddings.mask_token",
      storage_tokens: "embeddings.register_tokens",
      register_tokens: "embeddings.register_tokens",
      "patch_embed.proj": "embeddings.patch_embeddings",
      norm: "norm",
    },
    block: {
      ...HF_SCALES,
      norm1: "norm1",
      norm2: "norm2",
      "attn.proj": "attention.o_proj",
      "mlp.fc1": "mlp.up_proj",
      "mlp.fc2": "mlp.down_proj",
      "mlp.w1": "mlp.gate_proj",
      "mlp.w2": "mlp.up_proj",
      "mlp.w3": "mlp.down_proj",
    },
    qkv: ["attention.q_proj", "attention.k_proj", "attention.v_proj"],
    ignored: HF_IGNORED,
  },
  timm: {
    naming: "timm",
    blocks: "blocks.",
    top: { ...SAME_TOP, register_tokens: "reg_token", storage_tokens: "reg_token" },
    block: { ...SAME_BLOCK, ...TIMM_FUSED, "ls1.gamma": "ls1.gamma", "ls2.gamma": "ls2.gamma" },
    ignored: TIMM_IGNORED,
  },
  "timm-rope": {
    naming: "timm",
    blocks: "blocks.",
    top: { ...SAME_TOP, register_tokens: "reg_token", storage_tokens: "reg_token" },
    block: {
      ...SAME_BLOCK,
      "ls1.gamma": "gamma_1",
      "ls2.gamma": "gamma_2",
      "mlp.w1": "mlp.fc1_g",
      "mlp.w2": "mlp.fc1_x",
      "mlp.w3": "mlp.fc2",
    },
    ignored: TIMM_IGNORED,
  },
};

/** Their name of one of our parameters, where they have one; queries, keys and values that are stored apart have none of their own. */
export function storedName(dialect: Dialect, name: string): string | undefined {
  const { blocks, top, block } = TABLES[dialect];
  const [, index, inner = name] = /^blocks\.(\d+)\.(.+)$/.exec(name) ?? [];
  const names = index === undefined ? top : block;
  const [, stem = inner, kind = ""] = /^(.*)(\.(?:weight|bias))$/.exec(inner) ?? [];
  const theirs = names[inner] ?? names[stem];
  if (theirs === undefined) return undefined;
  return `${index === undefined ? "" : `${blocks}${index}.`}${theirs}${names[inner] === undefined ? kind : ""}`;
}

/** The dialect in which a naming tells this network. */
export function dialectOf(naming: Naming, { positions, layerScale }: ViTConfig): Dialect {
  if (naming === "meta") return "meta";
  if (positions === "rope") return naming === "timm" ? "timm-rope" : "hf-dinov3";
  if (naming === "timm") return "timm";
  return layerScale === undefined ? "hf-vit" : "hf-dinov2";
}

/** What others than Meta do not store, since only training reads it. */
export function published(config: ViTConfig): ViTConfig {
  return config.localClsNorm === true ? { ...config, localClsNorm: false } : config;
}

function part(name: string | undefined, shape: Shape): Part {
  return { name, shape };
}

/** Queries, keys and values `[3·d, …]` apart. */
function qkvParts({ name, shape }: ParamSpec, { width, keyBiasMask = false }: ViTConfig, dialect: Dialect): readonly Part[] | undefined {
  const [, index = "", kind = ""] = /^blocks\.(\d+)\.attn\.qkv\.(weight|bias)$/.exec(name) ?? [];
  if (index === "") return undefined;
  const { qkv, blocks } = TABLES[dialect];
  const third = [width, ...shape.slice(1)];
  if (dialect === "timm-rope" && kind === "bias") {
    const at = `${blocks}${index}.attn`;
    return [part(`${at}.q_bias`, third), part(undefined, third), part(`${at}.v_bias`, third)];
  }
  return qkv?.map((theirs, i) => {
    const isStored = !(dialect === "hf-dinov3" && kind === "bias" && i === 1 && keyBiasMask);
    return part(isStored ? `${blocks}${index}.${theirs}.${kind}` : undefined, third);
  });
}

/** timm's models with registers have no position of the class token: it is part of the class token. */
function timmPositions({ name, shape }: ParamSpec, { registers = 0 }: ViTConfig, dialect: Dialect): readonly Part[] | undefined {
  if (dialect !== "timm" || name !== "pos_embed" || registers === 0) return undefined;
  const [, tokens = 1, width = 1] = shape;
  return [part(undefined, [1, 1, width]), part("pos_embed", [1, tokens - 1, width])];
}

/** Mask tokens: `[1, 1, d]` in DINOv3 at Hugging Face, none in timm. */
function maskToken({ name, shape }: ParamSpec, dialect: Dialect): readonly Part[] | undefined {
  if (name !== "mask_token") return undefined;
  if (TABLES[dialect].naming === "timm") return [part(undefined, shape)];
  return dialect === "hf-dinov3" ? [part(storedName(dialect, name), [1, ...shape])] : undefined;
}

function partsOf(spec: ParamSpec, config: ViTConfig, dialect: Dialect): readonly Part[] {
  const special = qkvParts(spec, config, dialect) ?? timmPositions(spec, config, dialect) ?? maskToken(spec, dialect);
  if (special !== undefined) return special;
  const name = storedName(dialect, spec.name);
  if (name === undefined)
    throw new ConfigError(
      `Cannot name the weights of this network: "${spec.name}" has no place among the names of ${dialect}; use Meta's names`,
      { keyPath: "naming" },
    );
  return [part(name, spec.shape)];
}

/**
 * Every parameter of a ViT with what this dialect stores of it. Others than Meta leave out the norm of local crops. Throws ConfigError for a
 * network that the dialect has no names for.
 */
export function vitLinks(config: ViTConfig, dialect: Dialect): Link[] {
  const { qkvBias = true, keyBiasMask = false } = config;
  if (dialect === "timm-rope" && qkvBias && !keyBiasMask)
    throw new ConfigError("Cannot name the weights of this network: timm has no bias of keys; set keyBiasMask, or use other names", {
      keyPath: "naming",
    });
  return vitSpecs(dialect === "meta" ? config : published(config)).map((spec) => ({
    name: spec.name,
    shape: spec.shape,
    parts: partsOf(spec, config, dialect),
  }));
}
