/** @file Published networks by name: sizes, and what sets them apart from their line. DINO family spec §1.6, 2.3, 3.1, 3.3. */
import { VIT_SIZES } from "../../nn/index.ts";
import { type ArchLine, type Ingredients } from "./ingredients.ts";

export interface ArchSize {
  readonly depth: number;
  readonly width: number;
  readonly heads: number;
}

/** A network that a name stands for. */
export interface Arch {
  /** Its own name, where the one given is an alias. */
  readonly name: string;
  /** Undefined for a bare ViT size, which takes the method's ingredients. */
  readonly line: ArchLine | undefined;
  readonly size: ArchSize;
  readonly patchSizePx: number;
  /** Side of the picture its published weights are for. */
  readonly imageSizePx?: number;
  readonly own: Partial<Ingredients>;
}

const LARGE: ArchSize = { depth: 24, width: 1024, heads: 16 };
const GIANT: ArchSize = { depth: 40, width: 1536, heads: 24 };
const HUGE: ArchSize = { depth: 32, width: 1280, heads: 20 };
const SEVEN_B: ArchSize = { depth: 40, width: 4096, heads: 32 };
const { small: SMALL, base: BASE, tiny: TINY } = VIT_SIZES;

function arch(name: string, size: ArchSize, rest: Pick<Arch, "line" | "patchSizePx"> & Partial<Arch>): Arch {
  return { name, size, own: {}, ...rest };
}

const dino = (letter: string, size: ArchSize): Arch[] =>
  [16, 8].map((patchSizePx) => arch(`dino_vit${letter}${patchSizePx}`, size, { line: "dino", patchSizePx, imageSizePx: 224 }));

/** DINOv2's with and without registers; positions are interpolated as Hugging Face does (contracts 18). */
function dinov2(letter: string, size: ArchSize, own: Partial<Ingredients> = {}): Arch[] {
  const line = { line: "dinov2", patchSizePx: 14, imageSizePx: 518 } as const;
  return [
    arch(`dinov2_vit${letter}14`, size, { ...line, own }),
    arch(`dinov2_vit${letter}14_reg`, size, { ...line, own: { ...own, registers: 4, posInterpolation: "size-antialias" } }),
  ];
}

function dinov3(letter: string, size: ArchSize, own: Partial<Ingredients> = {}): Arch {
  return arch(`dinov3_vit${letter}16`, size, { line: "dinov3", patchSizePx: 16, imageSizePx: 224, own });
}

const gated = (ffnHidden: number, mlpRatio = 6): Partial<Ingredients> => ({ ffn: "swiglu", ffnHidden, mlpRatio });

/** Blocks of each stage, and their channels. */
export interface Stages {
  readonly depths: readonly number[];
  readonly widths: readonly number[];
}

export const CONVNEXT_STAGES: ReadonlyMap<string, Stages> = new Map([
  ["dinov3_convnext_tiny", { depths: [3, 3, 9, 3], widths: [96, 192, 384, 768] }],
  ["dinov3_convnext_small", { depths: [3, 3, 27, 3], widths: [96, 192, 384, 768] }],
  ["dinov3_convnext_base", { depths: [3, 3, 27, 3], widths: [128, 256, 512, 1024] }],
  ["dinov3_convnext_large", { depths: [3, 3, 27, 3], widths: [192, 384, 768, 1536] }],
]);

/** The widths are those of a stage's output; a bottleneck's 3x3 convolution has a quarter of them. */
export const RESNET_STAGES: ReadonlyMap<string, Stages> = new Map([
  ["resnet18", { depths: [2, 2, 2, 2], widths: [64, 128, 256, 512] }],
  ["resnet50", { depths: [3, 4, 6, 3], widths: [256, 512, 1024, 2048] }],
]);

function staged(line: "convnext" | "resnet", stages: ReadonlyMap<string, Stages>): Arch[] {
  return [...stages].map(([name, { depths, widths }]) => {
    const size = { depth: depths.reduce((a, b) => a + b), width: widths.at(-1) ?? 1, heads: 1 };
    return arch(name, size, { line, patchSizePx: 32, imageSizePx: 224 });
  });
}

/** The published networks, by their own names. */
export const PUBLISHED_ARCHS: ReadonlyMap<string, Arch> = new Map(
  [
    ...dino("s", SMALL),
    ...dino("b", BASE),
    ...dino("t", TINY),
    ...dinov2("s", SMALL),
    ...dinov2("b", BASE),
    ...dinov2("l", LARGE),
    ...dinov2("g", GIANT, { ffn: "swiglu-fused", ffnHidden: 4096 }),
    dinov3("s", SMALL),
    dinov3("splus", SMALL, gated(1536)),
    dinov3("b", BASE),
    dinov3("l", LARGE),
    dinov3("lplus", LARGE, gated(4096)),
    dinov3("hplus", HUGE, gated(5120)),
    dinov3("7b", SEVEN_B, { ...gated(8192, 3), qkvBias: false, keyBiasMask: false, localClsNorm: true }),
    ...staged("convnext", CONVNEXT_STAGES),
    ...staged("resnet", RESNET_STAGES),
  ].map((entry) => [entry.name, entry] as const),
);

/** Names of timm and Hugging Face, and short ones. */
export const ARCH_ALIASES: ReadonlyMap<string, string> = new Map([
  ...["small:s", "base:b", "large:l", "giant:g"].flatMap((pair): [string, string][] => {
    const [long = "", letter = ""] = pair.split(":");
    return [
      [`vit_${long}_patch14_dinov2`, `dinov2_vit${letter}14`],
      [`vit_${long}_patch14_reg4_dinov2`, `dinov2_vit${letter}14_reg`],
      [`facebook/dinov2-${long}`, `dinov2_vit${letter}14`],
      [`facebook/dinov2-with-registers-${long}`, `dinov2_vit${letter}14_reg`],
    ];
  }),
  ...["small:s", "small_plus:splus", "base:b", "large:l", "large_plus:lplus", "huge_plus:hplus", "7b:7b"].flatMap(
    (pair): [string, string][] => {
      const [long = "", short = ""] = pair.split(":");
      const own = `dinov3_vit${short}16`;
      return [
        [`vit_${long}_patch16_dinov3`, own],
        [`facebook/dinov3-vit${short}16-pretrain-lvd1689m`, own],
      ];
    },
  ),
  ...["tiny", "small", "base", "large"].flatMap((size): [string, string][] => [
    [`convnext_${size}`, `dinov3_convnext_${size}`],
    [`convnext_${size}.dinov3_lvd1689m`, `dinov3_convnext_${size}`],
    [`facebook/dinov3-convnext-${size}-pretrain-lvd1689m`, `dinov3_convnext_${size}`],
  ]),
  ...["s:16", "s:8", "b:16", "b:8"].map((pair): [string, string] => {
    const [letter = "", patch = ""] = pair.split(":");
    return [`facebook/dino-vit${letter}${patch}`, `dino_vit${letter}${patch}`];
  }),
]);
