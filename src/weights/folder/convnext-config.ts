/** @file `config.json` of Hugging Face's `DINOv3ConvNextModel`, both ways. DINOv3 spec §3.3. */
import { z } from "zod";
import { FormatError } from "../../core/index.ts";
import type { ConvNeXtConfig, Stages } from "../../nn/index.ts";

/** The norms' epsilon, which no release changes. */
const EPS = 1e-6;

/** `config.json` of a ConvNeXt. */
export function convnextToHuggingFaceConfig({ depths, widths, channels = 3, layerScale = 1e-6 }: ConvNeXtConfig): object {
  return {
    architectures: ["DINOv3ConvNextModel"],
    model_type: "dinov3_convnext",
    depths,
    hidden_sizes: widths,
    num_channels: channels,
    image_size: 224,
    hidden_act: "gelu",
    initializer_range: 0.02,
    layer_norm_eps: EPS,
    layer_scale_init_value: layerScale,
    drop_path_rate: 0,
    torch_dtype: "float32",
  };
}

const size = z.int().min(1).max(1_000_000);
const stages = (fallback: Stages): z.ZodType<Stages> => z.tuple([size, size, size, size]).default([...fallback]);
const blocks = z.int().min(1).max(1000);

const schema = z.object({
  model_type: z.literal("dinov3_convnext"),
  depths: z.tuple([blocks, blocks, blocks, blocks]).default([3, 3, 9, 3]),
  hidden_sizes: stages([96, 192, 384, 768]),
  num_channels: size.default(3),
  hidden_act: z.literal("gelu").default("gelu"),
  layer_norm_eps: z.literal(EPS).default(EPS),
  layer_scale_init_value: z.number().default(1e-6),
});

/** The network that a `config.json` describes. Throws FormatError with the file and the key. */
export function convnextFromHuggingFaceConfig(raw: unknown, file: string): ConvNeXtConfig {
  const parsed = schema.safeParse(raw);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const key = issue?.path.join(".") ?? "";
    throw new FormatError(
      `Cannot open model: "${file}" has a wrong ${key === "" ? "form" : key} (${issue?.message ?? "unknown"}); give the config.json of a DINOv3ConvNextModel`,
      { file },
    );
  }
  const { depths, hidden_sizes: widths, num_channels: channels, layer_scale_init_value: layerScale } = parsed.data;
  return { family: "convnext", depths, widths, ...(channels === 3 ? {} : { channels }), ...(layerScale === 1e-6 ? {} : { layerScale }) };
}
