/** @file The networks a list shows, with their sizes counted. */
import { type Arch, type ArchSize, parseArch } from "./arch.ts";
import { NAMED_ARCHS } from "./arch-table.ts";
import { backboneParameters } from "./count-parameters.ts";
import { INGREDIENTS } from "./ingredients.ts";

export interface ArchPreset extends ArchSize {
  readonly name: string;
  readonly patchSizePx: number;
  /** Of the backbone, at its native picture size. */
  readonly parameters: number;
}

/** Small ViTs for small pictures. */
const SMALL = ["vit_pico_patch4", "vit_nano_patch4", "vit_micro_patch8"];

function describe({ name, line = "dino", size, patchSizePx, imageSizePx = 8 * patchSizePx, own }: Arch): ArchPreset {
  const { depth, width, heads } = size;
  const model = {
    arch: name,
    ...size,
    ...INGREDIENTS[line],
    ...own,
    patchSizePx,
    imageSizePx,
    dropPath: 0,
    posEmbedInit: "normal",
  } as const;
  return { name, patchSizePx, depth, width, heads, parameters: backboneParameters(model) };
}

/** Names that are our own: contracts 18. */
const OUR_NAME = /^(dino_vit[tsb](16|8)|dinov2_vit.*|dinov3_(vit|convnext_).*|resnet\d+)$/;

/** The published networks, each once, under its own name. */
const published = new Set([...NAMED_ARCHS.values()].filter(({ name }) => OUR_NAME.test(name)));

/** The small networks for small pictures, and the published ones of DINO, DINOv2 and DINOv3. */
export const ARCH_PRESETS: readonly ArchPreset[] = [...SMALL.map(parseArch), ...published].flatMap((arch) =>
  arch === undefined ? [] : [describe(arch)],
);
