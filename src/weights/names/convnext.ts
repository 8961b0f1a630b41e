/** @file Names of DINOv3's ConvNeXt: Meta's (ours), Hugging Face's `DINOv3ConvNextModel`, timm's. DINOv3 spec §3.3, §3.11. */
import { FormatError, type HostTensor, InternalError, sameShape, type Shape } from "../../core/index.ts";
import { CONVNEXT_PRESETS, type ConvNeXtConfig, convnextSpecs } from "../../nn/index.ts";
import { toFloat32 } from "../half.ts";
import type { NamedTensors } from "../tensor-bytes.ts";
import type { Naming } from "./dialects.ts";
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

type Rule = readonly [ours: RegExp, theirs: string];

const RULES: { readonly [K in Naming]: readonly Rule[] } = {
  meta: [],
  huggingface: [
    [/^norm\./, "layer_norm."],
    [/^downsample_layers\.(\d+)\./, "stages.$1.downsample_layers."],
    [/^stages\.(\d+)\.(\d+)\.gamma$/, "stages.$1.layers.$2.gamma"],
    [/^stages\.(\d+)\.(\d+)\.dwconv\./, "stages.$1.layers.$2.depthwise_conv."],
    [/^stages\.(\d+)\.(\d+)\.norm\./, "stages.$1.layers.$2.layer_norm."],
    [/^stages\.(\d+)\.(\d+)\.pwconv(\d)\./, "stages.$1.layers.$2.pointwise_conv$3."],
  ],
  timm: [
    [/^norm\./, "head.norm."],
    [/^downsample_layers\.0\./, "stem."],
    [/^downsample_layers\.(\d+)\./, "stages.$1.downsample."],
    [/^stages\.(\d+)\.(\d+)\.gamma$/, "stages.$1.blocks.$2.gamma"],
    [/^stages\.(\d+)\.(\d+)\.dwconv\./, "stages.$1.blocks.$2.conv_dw."],
    [/^stages\.(\d+)\.(\d+)\.norm\./, "stages.$1.blocks.$2.norm."],
    [/^stages\.(\d+)\.(\d+)\.pwconv(\d)\./, "stages.$1.blocks.$2.mlp.fc$3."],
  ],
};

/** The final norm is stored twice by Meta (spec §6, 27); the copy must be one. */
export const COPIES: readonly (readonly [copy: string, of: string])[] = [
  ["norms.3.weight", "norm.weight"],
  ["norms.3.bias", "norm.bias"],
];
const IGNORED: { readonly [K in Naming]: RegExp } = { meta: /^(?:norms\.3|head)\./, huggingface: /^classifier\./, timm: /^head\.fc\./ };
/** What only a ConvNeXt has, by naming. */
const STEMS: { readonly [K in Naming]: string } = {
  meta: "downsample_layers.0.0.weight",
  huggingface: "stages.0.downsample_layers.0.weight",
  timm: "stem.0.weight",
};

/** Every parameter of a ConvNeXt with its name in a naming. */
export function convnextLinks(config: ConvNeXtConfig, naming: Naming): Link[] {
  return convnextSpecs(config).map(({ name, shape }) => {
    const rule = RULES[naming].find(([ours]) => ours.test(name));
    if (rule === undefined && naming !== "meta") throw new InternalError(`Cannot name "${name}": no rule of ${naming} fits it`);
    return { name, shape, parts: [{ name: rule === undefined ? name : name.replace(...rule), shape }] };
  });
}

/** Whose names of a ConvNeXt these are; undefined for other networks. */
export function detectConvNeXt(names: ReadonlySet<string> | Shapes): Naming | undefined {
  return (["meta", "huggingface", "timm"] as const).find((naming) => names.has(STEMS[naming]));
}

export interface ConvNeXtNames {
  readonly naming: Naming;
  /** What errors call the tensors. */
  readonly file?: string;
}

function fail(state: string, { file = "" }: ConvNeXtNames): never {
  throw new FormatError(`Cannot read weights${file === "" ? "" : ` of "${file}"`}: ${state}`, { file });
}

function likeliest(found: Shapes, naming: Naming): string {
  for (const [name, config] of CONVNEXT_PRESETS) {
    const { fits, missing, extra, wrong } = compareKeys(found, storedShapes(convnextLinks(config, naming)), IGNORED[naming]);
    if (fits > missing.length + extra.length + wrong.length) return `they look like "${name}": choose that architecture`;
  }
  return "choose the architecture of these weights";
}

/** Throws one FormatError that lists every missing, extra and wrongly shaped tensor. */
export function checkConvNeXtKeys(found: Shapes, config: ConvNeXtConfig, names: ConvNeXtNames): void {
  const { naming } = names;
  const report = compareKeys(found, storedShapes(convnextLinks(config, naming)), IGNORED[naming]);
  if (!isClean(report)) fail(`they do not fit the network, ${describeReport(report)}; ${likeliest(found, naming)}`, names);
}

/** Throws FormatError where what Meta stores of the final norm a second time (`copies`) is not what it stores of it first. */
export function checkCopies(tensors: NamedTensors, copies: NamedTensors, names: ConvNeXtNames): void {
  for (const [copy, of] of COPIES) {
    const [a, b] = [copies.get(copy), tensors.get(of)];
    if (a === undefined || b === undefined || names.naming !== "meta") continue;
    const [found, wanted] = [toFloat32(a).data, toFloat32(b).data];
    if (!sameShape(a.shape, b.shape) || found.some((x, i) => x !== wanted[i]))
      fail(`"${copy}" is not "${of}" once more; save the model again`, names);
  }
}

/** A naming's tensors -> ours, as float32. Throws FormatError that lists all that does not fit. */
export function convnextFrom(tensors: NamedTensors, config: ConvNeXtConfig, names: ConvNeXtNames): Map<string, HostTensor> {
  checkConvNeXtKeys(shapesOf(tensors), config, names);
  checkCopies(tensors, tensors, names);
  return joinTensors(tensors, convnextLinks(config, names.naming));
}

/** Our tensors -> a naming's; views of the given memory. Throws FormatError for tensors that are not this network's. */
export function convnextTo(tensors: NamedTensors, config: ConvNeXtConfig, naming: Naming): Map<string, HostTensor> {
  checkConvNeXtKeys(shapesOf(tensors), config, { naming: "meta" });
  return splitTensors(tensors, convnextLinks(config, naming));
}

/** The architecture that shapes are of: blocks and channels of each stage. Throws FormatError where a stage has none. */
export function inferConvNeXt(shapes: Shapes, names: ConvNeXtNames): ConvNeXtConfig {
  const inner = { meta: "", huggingface: "layers.", timm: "blocks." }[names.naming];
  const shape = (s: number, what: string): Shape =>
    shapes.get(`stages.${s}.${inner}0.${what}`) ?? fail(`stage ${s} has no blocks; choose another file`, names);
  const stage = (s: number): readonly [depth: number, width: number] => {
    const start = `stages.${s}.${inner}`;
    const blocks = [...shapes.keys()].flatMap((name) =>
      name.startsWith(start) ? [/^\d+(?=\.gamma$)/.exec(name.slice(start.length))?.[0]] : [],
    );
    return [new Set(blocks.filter((b) => b !== undefined)).size, shape(s, "gamma")[0] ?? 1];
  };
  const [a, b, c, d] = [stage(0), stage(1), stage(2), stage(3)];
  const channels = shapes.get(STEMS[names.naming])?.[1] ?? 3;
  const config: ConvNeXtConfig = { family: "convnext", depths: [a[0], b[0], c[0], d[0]], widths: [a[1], b[1], c[1], d[1]] };
  return channels === 3 ? config : { ...config, channels };
}
