/** @file The networks a configuration can name: the published ones, and ViTs by size and patch. */
import { ConfigError, nameHint } from "../../core/index.ts";
import { VIT_SIZES } from "../../nn/index.ts";
import { type Arch, ARCH_ALIASES, type ArchSize, PUBLISHED_ARCHS } from "./arch-table.ts";

export type { Arch, ArchSize } from "./arch-table.ts";

export type ArchSizeName = "pico" | "nano" | "micro" | "tiny" | "small" | "base";

/** DINO's published sizes and three small ones for small data. */
const SIZES: { readonly [K in ArchSizeName]: ArchSize } = {
  pico: { depth: 3, width: 64, heads: 2 },
  nano: { depth: 4, width: 96, heads: 3 },
  micro: { depth: 6, width: 192, heads: 3 },
  ...VIT_SIZES,
};

const EXAMPLES = [
  "vit",
  ...PUBLISHED_ARCHS.keys(),
  ...ARCH_ALIASES.keys(),
  ...Object.keys(SIZES).flatMap((size) => [4, 8, 14, 16].map((patch) => `vit_${size}_patch${patch}`)),
];

/** The three numbers of a named size. */
export function archSize(name: ArchSizeName): ArchSize {
  return SIZES[name];
}

function isSize(name: string): name is ArchSizeName {
  return Object.hasOwn(SIZES, name);
}

/** A ViT by size and patch: `vit_small_patch16`, with DINO's short names for any patch (`dino_vits12`). */
function bareVit(name: string): Arch | undefined {
  const [, long = "", patch = 0] = /^vit_([a-z]+)_patch(\d{1,3})(?:_224)?$/.exec(name) ?? [];
  if (isSize(long) && Number(patch) >= 1) return { name, line: undefined, size: SIZES[long], patchSizePx: Number(patch), own: {} };
  const [, letter = "", side = 0] = /^dino_vit([tsb])(\d{1,3})$/.exec(name) ?? [];
  const size = { t: SIZES.tiny, s: SIZES.small, b: SIZES.base }[letter];
  return size === undefined || Number(side) < 1 ? undefined : { name, line: "dino", size, patchSizePx: Number(side), own: {} };
}

/** The network that a preset's name stands for, or undefined for `vit` (free sizes). Throws ConfigError. */
export function parseArch(name: string): Arch | undefined {
  if (name === "vit") return undefined;
  const found = PUBLISHED_ARCHS.get(ARCH_ALIASES.get(name) ?? name) ?? bareVit(name);
  if (found !== undefined) return found;
  throw new ConfigError(`Cannot use model.arch "${name}": there is no such preset; ${nameHint(name, EXAMPLES)} ("vit" takes free sizes)`, {
    keyPath: "model.arch",
  });
}
