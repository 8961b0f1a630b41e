/** @file Weights of a ViT from one naming to another: strict, and pure. */
import { FormatError, type HostTensor } from "../../core/index.ts";
import { VIT_PRESETS, type ViTConfig } from "../../nn/index.ts";
import type { NamedTensors } from "../tensor-bytes.ts";
import { type Dialect, dialectOf, type Naming, TABLES, vitLinks } from "./dialects.ts";
import {
  compareKeys,
  describeReport,
  isClean,
  joinTensors,
  type Link,
  type Shapes,
  shapesOf,
  splitTensors,
  storedShapes,
} from "./links.ts";

/** What errors call the tensors. */
export interface Source {
  readonly file?: string;
}

/** Networks of the family, each with its first name. */
function knownNetworks(): Map<ViTConfig, string> {
  const first = new Map<ViTConfig, string>();
  for (const [name, config] of VIT_PRESETS) if (!first.has(config)) first.set(config, name);
  return first;
}

/** What of a naming's tensors a preset of the family would have; undefined where it speaks another dialect. */
function presetShapes(config: ViTConfig, dialect: Dialect): Shapes | undefined {
  return dialectOf(TABLES[dialect].naming, config) === dialect ? storedShapes(vitLinks(config, dialect)) : undefined;
}

/** The preset that shares most names and shapes with these, if it shares half of all. */
export function likeliestArchitecture(found: Shapes, dialect: Dialect): string | undefined {
  let best: { readonly name: string; readonly share: number } | undefined;
  for (const [config, name] of knownNetworks()) {
    const wanted = presetShapes(config, dialect);
    if (wanted === undefined) continue;
    const { fits, missing, extra, wrong } = compareKeys(found, wanted, TABLES[dialect].ignored);
    const share = fits / (fits + missing.length + extra.length + wrong.length);
    if (share >= 0.5 && share > (best?.share ?? 0)) best = { name, share };
  }
  return best?.name;
}

/** Throws one FormatError that lists every missing, extra and wrongly shaped tensor, and names the likeliest architecture. */
export function checkKeys(found: Shapes, links: readonly Link[], { dialect, file }: Source & { readonly dialect: Dialect }): void {
  const report = compareKeys(found, storedShapes(links), TABLES[dialect].ignored);
  if (isClean(report)) return;
  const likely = likeliestArchitecture(found, dialect);
  const todo = likely === undefined ? "choose the architecture of these weights" : `they look like "${likely}": choose that architecture`;
  throw new FormatError(
    `Cannot read weights${file === undefined ? "" : ` of "${file}"`}: they do not fit the network, ${describeReport(report)}; ${todo}`,
    { file: file ?? "" },
  );
}

/** Sets biases in `out` to zero where a stored mask is: the key third counts as zero (spec §6, 15). Throws FormatError for a mask that was never set. */
export function maskBiases(out: Map<string, HostTensor>, stored: NamedTensors, { file = "" }: Source): void {
  for (const [name, { data: mask }] of stored) {
    const target = name.replace(/_mask$/, "");
    const bias = name.endsWith(".attn.qkv.bias_mask") ? out.get(target) : undefined;
    if (bias === undefined) continue;
    const [values, factors] = [Array.from(bias.data, Number), Array.from(mask, Number)];
    if (factors.length !== values.length || factors.some((m) => m !== 0 && m !== 1))
      throw new FormatError(`Cannot read weights: "${name}" is no mask of ${values.length} zeros and ones; save the model again`, {
        file,
      });
    out.set(target, { ...bias, data: Float32Array.from(values, (x, i) => (factors[i] === 0 ? 0 : x)) });
  }
}

/** Tensors of a dialect -> ours. Throws FormatError for all that does not fit. */
export function fromDialect(
  tensors: NamedTensors,
  config: ViTConfig,
  { dialect, ...source }: Source & { readonly dialect: Dialect },
): Map<string, HostTensor> {
  const links = vitLinks(config, dialect);
  checkKeys(shapesOf(tensors), links, { dialect, ...source });
  const out = joinTensors(tensors, links);
  if (dialect === "meta") maskBiases(out, tensors, source);
  return out;
}

/** Our tensors of this network -> those of a naming. Throws FormatError for all that does not fit the network, ConfigError for no names. */
function toNaming(tensors: NamedTensors, config: ViTConfig, naming: Naming): Map<string, HostTensor> {
  checkKeys(shapesOf(tensors), vitLinks(config, "meta"), { dialect: "meta" });
  return splitTensors(tensors, vitLinks(config, dialectOf(naming, config)));
}

/**
 * Our (Meta's) names -> Hugging Face's of `ViTModel`, `Dinov2Model`, `Dinov2WithRegistersModel` or `DINOv3ViTModel`, as on disk: the joint
 * qkv is split; the biases of keys that count as zero, and the norm of local crops, are left out; DINOv3's registers are there even where there are none. Views of the given memory. Throws
 * FormatError for tensors that are not this network's.
 */
export function toHuggingFace(tensors: NamedTensors, config: ViTConfig): Map<string, HostTensor> {
  const out = toNaming(tensors, config, "huggingface");
  const { registers = 0, positions, width } = config;
  if (positions === "rope" && registers === 0)
    out.set("embeddings.register_tokens", { dtype: "f32", shape: [1, 0, width], data: new Float32Array() });
  return out;
}

/** Hugging Face's names -> ours, as float32; q, k, v are joined. Throws FormatError that lists all that does not fit. */
export function fromHuggingFace(tensors: NamedTensors, config: ViTConfig, source: Source = {}): Map<string, HostTensor> {
  return fromDialect(tensors, config, { ...source, dialect: dialectOf("huggingface", config) });
}

/**
 * Our names -> timm's. It has no mask token and no bias of keys; in models with registers the position of the class token becomes part of
 * the class token. Throws FormatError for tensors that are not this network's.
 */
export function toTimm(tensors: NamedTensors, config: ViTConfig): Map<string, HostTensor> {
  const { registers = 0, positions, width } = config;
  const out = toNaming(tensors, config, "timm");
  const [cls, place] = [tensors.get("cls_token"), tensors.get("pos_embed")];
  if (registers > 0 && positions !== "rope" && cls !== undefined && place !== undefined) {
    const data = Float32Array.from({ length: width }, (_, i) => Number(cls.data[i]) + Number(place.data[i]));
    out.set("cls_token", { dtype: "f32", shape: cls.shape, data });
  }
  return out;
}

/** timm's names -> ours, as float32; what timm does not store (mask token, biases of keys, position of a class token) is zero. Throws FormatError. */
export function fromTimm(tensors: NamedTensors, config: ViTConfig, source: Source = {}): Map<string, HostTensor> {
  return fromDialect(tensors, config, { ...source, dialect: dialectOf("timm", config) });
}

/** Meta's own tensors -> ours, as float32: buffers are dropped, biases masked. Throws FormatError that lists all that does not fit. */
export function fromMeta(tensors: NamedTensors, config: ViTConfig, source: Source = {}): Map<string, HostTensor> {
  return fromDialect(tensors, config, { ...source, dialect: "meta" });
}
