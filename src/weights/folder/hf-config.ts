/** @file `config.json` of Hugging Face's `ViTModel`, `Dinov2Model`, `Dinov2WithRegistersModel` and `DINOv3ViTModel`, both ways. */
import { z } from "zod";
import { ConfigError, FormatError } from "../../core/index.ts";
import { type PosInterpolation, swigluHidden, type ViTConfig } from "../../nn/index.ts";

/** A class of transformers that computes what our network computes. */
export type HuggingFaceClass = "ViTModel" | "Dinov2Model" | "Dinov2WithRegistersModel" | "DINOv3ViTModel";

const MODEL_TYPES: { readonly [K in HuggingFaceClass]: string } = {
  ViTModel: "vit",
  Dinov2Model: "dinov2",
  Dinov2WithRegistersModel: "dinov2_with_registers",
  DINOv3ViTModel: "dinov3_vit",
};

/** How Hugging Face resizes learned positions of this network: to size, antialiased where there are registers. */
export function huggingFacePositions({ registers = 0, positions }: Pick<ViTConfig, "registers" | "positions">): PosInterpolation {
  return registers > 0 && positions !== "rope" ? "size-antialias" : "size";
}

function refuse(key: string, state: string): never {
  throw new ConfigError(
    `Cannot write a Hugging Face folder: ${state}; train a published architecture, or keep the weights as safetensors`,
    {
      keyPath: `model.${key}`,
    },
  );
}

/** Networks that no class computes are refused. */
function checkRope({ rope = {}, layerScale, maskToken, ffn = "mlp", qkvBias = true, keyBiasMask = false }: ViTConfig): void {
  if (layerScale === undefined) refuse("layerScale", "DINOv3ViTModel scales its residual branches, this network does not");
  if (maskToken !== true) refuse("maskToken", "DINOv3ViTModel has a mask token, this network has none");
  if (ffn === "swiglu-fused") refuse("ffn", "DINOv3ViTModel has no fused SwiGLU");
  if (qkvBias && !keyBiasMask) refuse("keyBiasMask", "the biases of keys turn with positions and are not masked, which no release has");
  if (rope.minPeriod !== undefined || rope.maxPeriod !== undefined)
    refuse("rope", "DINOv3ViTModel knows rotary periods by their base only");
  if ((rope.normalize ?? "separate") !== "separate")
    refuse("rope", `DINOv3ViTModel divides each axis by its own length, not by "${rope.normalize}"`);
}

function checkLearned({ layerScale, maskToken = false, registers = 0, ffn = "mlp" }: ViTConfig): void {
  if (ffn === "swiglu") refuse("ffn", "only DINOv3ViTModel has SwiGLU in three layers");
  if (layerScale === undefined && (maskToken || registers > 0 || ffn !== "mlp"))
    refuse(
      "layerScale",
      "ViTModel has neither registers nor SwiGLU nor, in a backbone, a mask token; Dinov2Model scales its residual branches",
    );
  if (registers > 0 && !maskToken) refuse("maskToken", "Dinov2WithRegistersModel has a mask token, this network has none");
}

/** The class of transformers for a network. Throws ConfigError where none computes the same. */
export function huggingFaceClass(config: ViTConfig): HuggingFaceClass {
  const { positions, layerScale, registers = 0, norm = "layernorm", untieClsAndPatchNorms = false } = config;
  if (norm !== "layernorm") refuse("norm", `no class has ${norm}`);
  if (untieClsAndPatchNorms) refuse("untieClsAndPatchNorms", "no class has a norm of its own for the class token");
  if (positions === "rope") {
    checkRope(config);
    return "DINOv3ViTModel";
  }
  checkLearned(config);
  if (layerScale === undefined) return "ViTModel";
  return registers > 0 ? "Dinov2WithRegistersModel" : "Dinov2Model";
}

function hiddenOf({ ffnHidden, width, mlpRatio }: ViTConfig): number {
  return ffnHidden ?? Math.round(width * mlpRatio);
}

/** DINOv2's classes know a whole ratio only. */
function wholeRatio(config: ViTConfig): number {
  const { width, ffn = "mlp" } = config;
  const hidden = hiddenOf(config);
  for (let ratio = 1; ratio * width <= 2 * hidden + 16 * width; ratio++)
    if ((ffn === "mlp" ? ratio * width : swigluHidden(width, { ratio })) === hidden) return ratio;
  return refuse("mlpRatio", `Dinov2Model has no feed-forward layer of ${hidden} for a width of ${width}`);
}

function commonKeys(config: ViTConfig): object {
  const { width, depth, heads, imageSizePx, patchSizePx, layerNormEps, channels = 3 } = config;
  return {
    hidden_size: width,
    num_hidden_layers: depth,
    num_attention_heads: heads,
    image_size: imageSizePx,
    patch_size: patchSizePx,
    num_channels: channels,
    initializer_range: 0.02,
    layer_norm_eps: layerNormEps,
    torch_dtype: "float32",
  };
}

function vitKeys(config: ViTConfig): object {
  return {
    intermediate_size: hiddenOf(config),
    qkv_bias: config.qkvBias ?? true,
    hidden_act: "gelu",
    hidden_dropout_prob: 0,
    attention_probs_dropout_prob: 0,
  };
}

function dinov2Keys(config: ViTConfig): object {
  const { registers = 0, layerScale = 1, ffn = "mlp", qkvBias = true, maskToken = false } = config;
  return {
    mlp_ratio: wholeRatio(config),
    qkv_bias: qkvBias,
    hidden_act: "gelu",
    hidden_dropout_prob: 0,
    attention_probs_dropout_prob: 0,
    drop_path_rate: 0,
    layerscale_value: layerScale,
    use_swiglu_ffn: ffn === "swiglu-fused",
    ...(registers > 0 ? { num_register_tokens: registers } : { use_mask_token: maskToken }),
  };
}

function dinov3Keys(config: ViTConfig): object {
  const { registers = 0, layerScale = 1, ffn = "mlp", qkvBias = true, rope = {} } = config;
  const { base = 100, shift = 0, jitter = 1, rescale = 1 } = rope;
  return {
    intermediate_size: hiddenOf(config),
    query_bias: qkvBias,
    key_bias: false,
    value_bias: qkvBias,
    proj_bias: true,
    mlp_bias: true,
    hidden_act: ffn === "swiglu" ? "silu" : "gelu",
    use_gated_mlp: ffn === "swiglu",
    attention_dropout: 0,
    drop_path_rate: 0,
    layerscale_value: layerScale,
    num_register_tokens: registers,
    rope_theta: base,
    pos_embed_shift: shift === 0 ? null : shift,
    pos_embed_jitter: jitter === 1 ? null : jitter,
    pos_embed_rescale: rescale === 1 ? null : rescale,
  };
}

const KEYS: { readonly [K in HuggingFaceClass]: (config: ViTConfig) => object } = {
  ViTModel: vitKeys,
  Dinov2Model: dinov2Keys,
  Dinov2WithRegistersModel: dinov2Keys,
  DINOv3ViTModel: dinov3Keys,
};

/** `config.json` of the class that computes this network; the norm's epsilon is always written. Throws ConfigError where none does. */
export function toHuggingFaceConfig(config: ViTConfig): object {
  const name = huggingFaceClass(config);
  return { architectures: [name], model_type: MODEL_TYPES[name], ...commonKeys(config), ...KEYS[name](config) };
}

/** Keys that transformers wants as Python floats: it refuses `100` where it wants `100.0`. */
const FLOAT_KEYS =
  /("(?:layer_norm_eps|initializer_range|layerscale_value|layer_scale_init_value|drop_path_rate|rope_theta|pos_embed_\w+)": -?\d+)(?=,?\n)/g;

/** JSON with whole floats written as `1.0`. */
export function configText(config: object): string {
  return `${JSON.stringify(config, null, 2)}\n`.replaceAll(FLOAT_KEYS, "$1.0");
}

/** The text of `config.json`: `toHuggingFaceConfig`, whole floats written as `1.0`. Throws ConfigError. */
export function huggingFaceConfigText(config: ViTConfig): string {
  return configText(toHuggingFaceConfig(config));
}

const count = z.int().min(1).max(1_000_000);
const side = z
  .union([count, z.tuple([count, count]).refine(([a, b]) => a === b, "only squares are known")])
  .transform((s) => (typeof s === "number" ? s : s[0]));
const common = {
  hidden_size: count,
  num_hidden_layers: z.int().min(1).max(1000),
  num_attention_heads: count,
  num_channels: count.default(3),
  patch_size: side,
};
const eps = z.number().positive();
const gelu = z.literal("gelu").default("gelu");

const vitSchema = z.object({
  ...common,
  model_type: z.literal("vit"),
  image_size: side.default(224),
  intermediate_size: count,
  layer_norm_eps: eps.default(1e-12),
  hidden_act: gelu,
  qkv_bias: z.boolean().default(true),
});
const dinov2Common = {
  ...common,
  image_size: side.default(224),
  mlp_ratio: z.number().positive().max(64).default(4),
  layer_norm_eps: eps.default(1e-6),
  hidden_act: gelu,
  qkv_bias: z.boolean().default(true),
  layerscale_value: z.number().default(1),
  use_swiglu_ffn: z.boolean().default(false),
};
const dinov2Schema = z.object({ ...dinov2Common, model_type: z.literal("dinov2"), use_mask_token: z.boolean().default(true) });
const registersSchema = z.object({
  ...dinov2Common,
  model_type: z.literal("dinov2_with_registers"),
  num_register_tokens: count.default(4),
});
const factor = z
  .number()
  .positive()
  .nullish()
  .transform((x) => x ?? undefined);
const dinov3Schema = z.object({
  ...common,
  model_type: z.literal("dinov3_vit"),
  image_size: side.default(224),
  intermediate_size: count,
  layer_norm_eps: eps.default(1e-5),
  hidden_act: z.enum(["gelu", "silu"]).default("gelu"),
  use_gated_mlp: z.boolean().default(false),
  query_bias: z.boolean().default(true),
  key_bias: z.literal(false).default(false),
  value_bias: z.boolean().default(true),
  proj_bias: z.literal(true).default(true),
  mlp_bias: z.literal(true).default(true),
  layerscale_value: z.number().default(1),
  num_register_tokens: z.int().min(0).max(10_000).default(0),
  rope_theta: z.number().positive().default(100),
  pos_embed_shift: factor,
  pos_embed_jitter: factor,
  pos_embed_rescale: factor,
});
const schema = z.discriminatedUnion("model_type", [vitSchema, dinov2Schema, registersSchema, dinov3Schema]);

type Parsed = z.infer<typeof schema>;
type OfType<K extends Parsed["model_type"]> = Extract<Parsed, { model_type: K }>;
type Shared = Pick<ViTConfig, "imageSizePx" | "patchSizePx" | "width" | "depth" | "heads" | "layerNormEps" | "channels" | "qkvBias">;

function shared(c: Parsed, qkvBias: boolean): Shared {
  return {
    imageSizePx: c.image_size,
    patchSizePx: c.patch_size,
    width: c.hidden_size,
    depth: c.num_hidden_layers,
    heads: c.num_attention_heads,
    layerNormEps: c.layer_norm_eps,
    ...(c.num_channels === 3 ? {} : { channels: c.num_channels }),
    ...(qkvBias ? {} : { qkvBias }),
  };
}

function dinov2Config(c: OfType<"dinov2"> | OfType<"dinov2_with_registers">): Omit<ViTConfig, "posInterpolation"> {
  const { hidden_size: width, mlp_ratio: ratio } = c;
  const hidden = c.use_swiglu_ffn ? swigluHidden(width, { ratio }) : Math.trunc(width * ratio);
  return {
    ...shared(c, c.qkv_bias),
    mlpRatio: hidden / width,
    ...(c.use_swiglu_ffn ? { ffn: "swiglu-fused", ffnHidden: hidden } : {}),
    layerScale: c.layerscale_value,
    tokenInitStd: 1e-6,
    ...(c.model_type === "dinov2_with_registers" ? { registers: c.num_register_tokens } : {}),
    ...(c.model_type === "dinov2_with_registers" || c.use_mask_token ? { maskToken: true } : {}),
  };
}

function dinov3Config(c: OfType<"dinov3_vit">): Omit<ViTConfig, "posInterpolation"> {
  const hidden = c.intermediate_size;
  return {
    ...shared(c, c.query_bias),
    mlpRatio: hidden / c.hidden_size,
    ...(c.use_gated_mlp ? { ffn: "swiglu", ffnHidden: hidden } : {}),
    layerScale: c.layerscale_value,
    tokenInitStd: 0.02,
    maskToken: true,
    keyBiasMask: true,
    positions: "rope",
    ...(c.num_register_tokens > 0 ? { registers: c.num_register_tokens, registerName: "storage_tokens" } : {}),
    rope: {
      base: c.rope_theta,
      normalize: "separate",
      ...(c.pos_embed_shift === undefined ? {} : { shift: c.pos_embed_shift }),
      ...(c.pos_embed_jitter === undefined ? {} : { jitter: c.pos_embed_jitter }),
      ...(c.pos_embed_rescale === undefined ? {} : { rescale: c.pos_embed_rescale }),
    },
  };
}

const READ: { readonly [K in Parsed["model_type"]]: (c: never) => Omit<ViTConfig, "posInterpolation"> } = {
  vit: (c: OfType<"vit">) => ({ ...shared(c, c.qkv_bias), mlpRatio: c.intermediate_size / c.hidden_size }),
  dinov2: dinov2Config,
  dinov2_with_registers: dinov2Config,
  dinov3_vit: dinov3Config,
};

/** Combinations that the schemas let through and no network of ours computes. */
function checkCombination(c: Parsed, broken: (key: string, why: string) => never): void {
  if (c.hidden_size % c.num_attention_heads !== 0) broken("num_attention_heads", `${c.hidden_size} is no multiple of it`);
  if (c.model_type !== "dinov3_vit") {
    if (c.image_size % c.patch_size !== 0) broken("image_size", `it is no multiple of the patch size ${c.patch_size}`);
    return;
  }
  if (c.hidden_act !== (c.use_gated_mlp ? "silu" : "gelu"))
    broken("hidden_act", `"${c.hidden_act}" ${c.use_gated_mlp ? "with" : "without"} use_gated_mlp is not known`);
  if (c.query_bias !== c.value_bias) broken("query_bias", "it differs from value_bias, which is not known");
  if ((c.hidden_size / c.num_attention_heads) % 4 !== 0) broken("num_attention_heads", "rotary positions need heads of a multiple of 4");
}

/** The network that a `config.json` describes, with positions resized as its class does. Throws FormatError with the file and the key. */
export function fromHuggingFaceConfig(raw: unknown, file: string): ViTConfig {
  const broken = (key: string, why: string): never => {
    throw new FormatError(
      `Cannot open model: "${file}" has a wrong ${key} (${why}); known are ${Object.keys(MODEL_TYPES).join(", ")} as published`,
      { file },
    );
  };
  const parsed = schema.safeParse(raw);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return broken(issue?.path.join(".") === "" ? "form" : (issue?.path.join(".") ?? "form"), issue?.message ?? "unknown");
  }
  checkCombination(parsed.data, broken);
  const read: (c: never) => Omit<ViTConfig, "posInterpolation"> = READ[parsed.data.model_type];
  const config = read(parsed.data as never); // the table is keyed by the same type
  return { ...config, posInterpolation: huggingFacePositions(config) };
}
