/** @file `config.json` of timm's folders (`timm.create_model("local-dir:DIR")`): written for ResNets, read for all that we know. */
import { z } from "zod";
import { ConfigError, FormatError } from "../../core/index.ts";
import { RESNET_PRESETS, type ResNetConfig, resnetWidth } from "../../nn/index.ts";

const KERNELS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"] as const;
/** One number a channel. */
const perChannel = z.array(z.number()).min(1);
const px = z.int().min(1).max(100_000);
const square = z.object({ height: px, width: px });

/** What of a processor's file timm has words for. */
const processorSchema = z.object({
  image_mean: perChannel,
  image_std: perChannel,
  resample: z.int().min(0).max(5),
  size: z.union([square, z.object({ shortest_edge: px })]),
  crop_size: square.optional(),
});

/** timm's `crop_pct`: it resizes the short side to floor(crop / pct), which must be `edge` again. */
function cropShare(crop: number, edge: number): number {
  const share = Math.min(1, crop / edge);
  return Math.floor(crop / share) === Math.max(crop, edge) ? share : crop / (edge + 0.5);
}

/** Size, crop and interpolation in timm's words; pictures that are resized to a square are squashed. */
function timmInput(processor: object, channels: number): object {
  const parsed = processorSchema.safeParse(processor);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new ConfigError(
      `Cannot write a folder for timm: the processor has a wrong ${issue?.path.join(".") ?? "form"} (${issue?.message ?? "unknown"}); give image_mean, image_std, resample, size and crop_size`,
      { keyPath: "processor" },
    );
  }
  const { image_mean: mean, image_std: std, resample, size, crop_size: crop } = parsed.data;
  const numbers = { interpolation: KERNELS[resample] ?? "bicubic", mean, std };
  if (!("shortest_edge" in size)) return { input_size: [channels, size.height, size.width], crop_pct: 1, crop_mode: "squash", ...numbers };
  const { height, width } = crop ?? { height: size.shortest_edge, width: size.shortest_edge };
  return { input_size: [channels, height, width], crop_pct: cropShare(height, size.shortest_edge), crop_mode: "center", ...numbers };
}

/** The published network that has these blocks, or one of the same blocks with other depths. */
function architectureOf({ block, depths, width }: ResNetConfig): { readonly architecture: string; readonly layers?: readonly number[] } {
  if (width !== 64)
    throw new ConfigError(
      `Cannot write a folder for timm: its ResNets have a stem of 64 channels, this one has ${width}; train a published architecture`,
      {
        keyPath: "model.width",
      },
    );
  const same = [...RESNET_PRESETS].find(([, preset]) => preset.block === block && preset.depths.every((n, i) => n === depths[i]));
  if (same !== undefined) return { architecture: same[0] };
  return { architecture: block === "basic" ? "resnet18" : "resnet50", layers: depths };
}

/** What of a timm folder's `config.json` differs between networks. */
export interface TimmWords {
  readonly architecture: string;
  readonly features: number;
  readonly pool: "avg" | "token";
  /** What its constructor is told beside its name. */
  readonly args: object;
  readonly channels: number;
  readonly processor: object;
  /** Side of the only picture it takes. */
  readonly fixedPx?: number | undefined;
  readonly firstConv: string;
  readonly classifier: string;
}

/** `config.json` of a network without a classifier, as timm saves it. Throws ConfigError for a processor that timm has no words for. */
export function timmConfig({ architecture, features, pool, args, channels, processor, fixedPx, firstConv, classifier }: TimmWords): object {
  const modelArgs = { ...args, ...(channels === 3 ? {} : { in_chans: channels }) };
  return {
    architecture,
    num_classes: 0,
    num_features: features,
    global_pool: pool,
    ...(Object.keys(modelArgs).length === 0 ? {} : { model_args: modelArgs }),
    pretrained_cfg: {
      ...timmInput(processor, channels),
      ...(fixedPx === undefined ? {} : { input_size: [channels, fixedPx, fixedPx] }),
      num_classes: 0,
      fixed_input_size: fixedPx !== undefined,
      custom_load: false,
      first_conv: firstConv,
      classifier,
    },
  };
}

/** `config.json` of a ResNet. Throws ConfigError for a network or processor that timm has no words for. */
export function resnetToTimmConfig(config: ResNetConfig, processor: object): object {
  const { channels = 3 } = config;
  const { architecture, layers } = architectureOf(config);
  const args = layers === undefined ? {} : { layers };
  const words = { pool: "avg", firstConv: "conv1", classifier: "fc" } as const;
  return timmConfig({ ...words, architecture, features: resnetWidth(config), args, channels, processor });
}

const folderSchema = z.object({
  architecture: z.string(),
  model_type: z.never().optional(),
  pretrained_cfg: z
    .object({
      tag: z.string().optional(),
      mean: perChannel,
      std: perChannel,
      input_size: z.tuple([px, px, px]),
      crop_pct: z.number().positive().max(1).default(0.875),
      crop_mode: z.string().default("center"),
      interpolation: z.string().default("bicubic"),
    })
    .optional()
    .catch(undefined),
});

/** What a folder of timm's says of its network and pictures. */
export interface TimmFolder {
  /** The name of the architecture, then the same with the tag of its weights where there is one. */
  readonly names: readonly string[];
  /** In the words of a `preprocessor_config.json`. */
  readonly processor: object | undefined;
}

/** Plain networks whose names other variants of the same tensors do not have. */
const KNOWN = /^(?:resnet\d+|convnext_[a-z]+|vit_.+)$/;

/** Reads timm's `config.json`; undefined where the file is none. Throws FormatError for an architecture of another family. */
export function readTimmConfig(raw: unknown, file: string): TimmFolder | undefined {
  const parsed = folderSchema.safeParse(raw);
  if (!parsed.success) return undefined;
  const { architecture, pretrained_cfg: cfg } = parsed.data;
  if (!KNOWN.test(architecture))
    throw new FormatError(
      `Cannot open model: "${file}" is of timm's "${architecture}", which is not known here; known are ViTs, ConvNeXts and plain ResNets`,
      { file },
    );
  const names = [architecture, ...(cfg?.tag === undefined ? [] : [`${architecture}.${cfg.tag}`])];
  if (cfg === undefined) return { names, processor: undefined };
  const [, height, width] = cfg.input_size;
  const resample = KERNELS.findIndex((kernel) => kernel === cfg.interpolation);
  const sizes =
    cfg.crop_mode === "squash"
      ? { size: { height, width } }
      : { size: { shortest_edge: Math.floor(height / cfg.crop_pct) }, do_center_crop: true, crop_size: { height, width } };
  return { names, processor: { image_mean: cfg.mean, image_std: cfg.std, resample: resample < 0 ? 3 : resample, ...sizes } };
}
