/** @file From a file's tensors and what its folder says to a network: in Node and in the browser alike. Needs no Node. */
import { ConfigError, nameHint } from "../../core/index.ts";
import {
  type BackboneConfig,
  CONVNEXT_PRESETS,
  type ConvNeXtConfig,
  isViT,
  RESNET_PRESETS,
  type ResNetConfig,
  VIT_PRESETS,
  type ViTConfig,
} from "../../nn/index.ts";
import type { Asked, BackboneSource, OpenNetwork } from "./backbone.ts";
import type { Contents } from "./contents.ts";
import { convnextFromHuggingFaceConfig } from "./convnext-config.ts";
import { fromHuggingFaceConfig } from "./hf-config.ts";
import { lazyConvNeXt, lazyResNet } from "./open-convolution.ts";
import { lazyViT } from "./open-vit.ts";
import { readTimmConfig, type TimmFolder } from "./timm-config.ts";

/** What a folder says of itself; nothing, of a bare file of weights. */
export interface Described {
  readonly config?: BackboneConfig;
  readonly timm?: TimmFolder;
}

function isConvNeXt(raw: unknown): boolean {
  return typeof raw === "object" && raw !== null && "model_type" in raw && raw.model_type === "dinov3_convnext";
}

/** What a folder's `config.json`, already parsed, says. Throws FormatError for another model's. */
export function readDescription(raw: unknown, file: string): Described {
  const timm = readTimmConfig(raw, file);
  if (timm !== undefined) return { timm };
  return { config: isConvNeXt(raw) ? convnextFromHuggingFaceConfig(raw, file) : fromHuggingFaceConfig(raw, file) };
}

function presetOf(name: string): BackboneConfig | undefined {
  return VIT_PRESETS.get(name) ?? CONVNEXT_PRESETS.get(name) ?? RESNET_PRESETS.get(name);
}

/** A preset of any family. Throws ConfigError with the nearest name. */
function namedConfig(name: string): BackboneConfig {
  const known = [...VIT_PRESETS.keys(), ...CONVNEXT_PRESETS.keys(), ...RESNET_PRESETS.keys()];
  const config = presetOf(name);
  if (config !== undefined) return config;
  throw new ConfigError(`Cannot find model "${name}": there is no such preset; ${nameHint(name, known)}`, { keyPath: "model.arch" });
}

/**
 * A network by its name or, where none is given, by a folder's `config.json` (parsed; undefined where there is none); undefined where neither
 * says. Throws ConfigError for an unknown name, FormatError for another model's `config.json`.
 */
export function readDescribedConfig(
  raw: unknown,
  { file, arch }: { readonly file: string; readonly arch?: string | BackboneConfig | undefined },
): BackboneConfig | undefined {
  if (arch !== undefined) return typeof arch === "string" ? namedConfig(arch) : arch;
  if (raw === undefined) return undefined;
  const { config, timm } = readDescription(raw, file);
  return config ?? timm?.names.map(presetOf).findLast((preset) => preset !== undefined);
}

interface Families {
  readonly vit: ViTConfig;
  readonly convnext: ConvNeXtConfig;
  readonly resnet: ResNetConfig;
}
const TITLES = { vit: "vision transformer", convnext: "ConvNeXt", resnet: "ResNet" } as const;

/** A configuration as one of the family that the file's names are of. Throws ConfigError for another family. */
function ofFamily<F extends keyof Families>(config: BackboneConfig | undefined, family: F, file: string): Families[F] | undefined {
  if (config === undefined) return undefined;
  const said = isViT(config) ? "vit" : config.family;
  if (said === family) return config as Families[F]; // the family was just compared
  throw new ConfigError(
    `Cannot open "${file}": its tensors are of a ${TITLES[family]}, the architecture is a ${TITLES[said]}; choose the architecture of these weights`,
    { keyPath: "arch" },
  );
}

/** What is known of weights before they are opened. */
export interface Said extends Described {
  /** For error messages. */
  readonly file: string;
  /** Whether a run of ours wrote them. */
  readonly isRun: boolean;
  /** A preset's name, or the configuration itself. */
  readonly arch: string | BackboneConfig | undefined;
}

function sourceOf({ config, timm, isRun }: Said): BackboneSource | undefined {
  if (isRun) return "tricera";
  if (timm !== undefined) return "timm";
  return config === undefined ? undefined : "huggingface";
}

/**
 * A network by its tensors and what is said of them, all keys checked; values are read when asked for. Throws FormatError for tensors that do
 * not fit, ConfigError where nothing tells the architecture or another family is named.
 */
export async function openNetwork(contents: Contents, said: Said): Promise<OpenNetwork> {
  const { file } = said;
  const name = said.timm?.names.findLast((n) => presetOf(n) !== undefined) ?? (typeof said.arch === "string" ? said.arch : undefined);
  const arch = name !== undefined ? namedConfig(name) : typeof said.arch === "object" ? said.arch : undefined;
  const asked = <F extends keyof Families>(family: F): Asked<Families[F]> => {
    const named = said.config === undefined ? ofFamily(arch, family, file) : undefined;
    // timm's folders may change the blocks of the architecture they name; the shapes of a convolutional network tell them
    const isLoose = said.timm !== undefined && family !== "vit";
    return { file, described: ofFamily(said.config, family, file), named: isLoose ? undefined : named, name, source: sourceOf(said) };
  };
  const { names } = contents;
  if (names.family === "vit") return await lazyViT(contents, names.dialect, asked("vit"));
  if (names.family === "convnext") return await lazyConvNeXt(contents, names.naming, asked("convnext"));
  return lazyResNet(contents, asked("resnet"));
}
