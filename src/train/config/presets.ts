/** @file The networks a list shows, with their sizes counted. */
import { archSize, type ArchSize, parseArch, PUBLISHED } from "./arch.ts";
import { backboneParameters } from "./memory.ts";

export interface ArchPreset extends ArchSize {
  readonly name: string;
  readonly patchSizePx: number;
  /** Of the backbone, at its native picture size. */
  readonly parameters: number;
}

const NAMES = ["vit_pico_patch4", "vit_nano_patch4", "vit_micro_patch8", "dino_vitt16", "dino_vitt8", ...PUBLISHED];

function describe(name: string): readonly ArchPreset[] {
  const parsed = parseArch(name);
  if (parsed === undefined) return [];
  const { size, patchSizePx } = parsed;
  const sizes = archSize(size);
  const imageSizePx = name.startsWith("dino_") ? 224 : 8 * patchSizePx;
  const model = {
    arch: name,
    ...sizes,
    mlpRatio: 4,
    patchSizePx,
    imageSizePx,
    dropPath: 0,
    posInterpolation: "size",
    posEmbedInit: "normal",
  } as const;
  return [{ name, patchSizePx, ...sizes, parameters: backboneParameters(model) }];
}

/** DINO's published networks and the small ones for small pictures. */
export const ARCH_PRESETS: readonly ArchPreset[] = NAMES.flatMap(describe);
