/** @file The networks a configuration can name: the published ones, and ViTs by size and patch. */
import { ConfigError, nameHint } from "../../core/index.ts";
import { VIT_SIZES } from "../../nn/index.ts";
import { type Arch, type ArchSize, NAMED_ARCHS } from "./arch-table.ts";

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
  ...NAMED_ARCHS.keys(),
  ...Object.keys(SIZES).flatMap((size) => [4, 8, 14, 16].map((patch) => `vit_${size}_patch${patch}`)),
];

/** The three numbers of a named size. */
export function archSize(name: ArchSizeName): ArchSize {
  return SIZES[name];
}

function isSize(name: string): name is ArchSizeName {
  return Object.hasOwn(SIZES, name);
}

/** A ViT by size and patch (`vit_small_patch16`), which takes the method's ingredients. */
function bareVit(name: string): Arch | undefined {
  const [, size = "", patch = 0] = /^vit_([a-z]+)_patch(\d{1,3})(?:_224)?$/.exec(name) ?? [];
  return isSize(size) && Number(patch) >= 1 ? { name, line: undefined, size: SIZES[size], patchSizePx: Number(patch), own: {} } : undefined;
}

/** DINO's short names take any patch (`dino_vits12`). */
function shortVit(name: string): Arch | undefined {
  const [, letter = "", patch = 0] = /^dino_vit([tsb])(\d{1,3})$/.exec(name) ?? [];
  const size = { t: SIZES.tiny, s: SIZES.small, b: SIZES.base }[letter];
  return size === undefined || Number(patch) < 1 ? undefined : { name, line: "dino", size, patchSizePx: Number(patch), own: {} };
}

/** The network that a preset's name stands for, or undefined for `vit` (free sizes). Throws ConfigError. */
export function parseArch(name: string): Arch | undefined {
  if (name === "vit") return undefined;
  const found = bareVit(name) ?? NAMED_ARCHS.get(name) ?? shortVit(name);
  if (found !== undefined) return found;
  throw new ConfigError(`Cannot use model.arch "${name}": there is no such preset; ${nameHint(name, EXAMPLES)} ("vit" takes free sizes)`, {
    keyPath: "model.arch",
  });
}
