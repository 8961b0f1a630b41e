/** @file The ViT sizes a configuration can name: DINO's published ones and three small ones for small data. */
import { ConfigError, nameHint } from "../../core/index.ts";
import { VIT_SIZES } from "../../nn/index.ts";

export interface ArchSize {
  readonly depth: number;
  readonly width: number;
  readonly heads: number;
}

export type ArchSizeName = "pico" | "nano" | "micro" | "tiny" | "small" | "base";

const SIZES: { readonly [K in ArchSizeName]: ArchSize } = {
  pico: { depth: 3, width: 64, heads: 2 },
  nano: { depth: 4, width: 96, heads: 3 },
  micro: { depth: 6, width: 192, heads: 3 },
  ...VIT_SIZES,
};

const SHORT = { t: "tiny", s: "small", b: "base" } as const;
/** DINO's published ViTs. */
export const PUBLISHED: readonly string[] = ["dino_vits16", "dino_vits8", "dino_vitb16", "dino_vitb8"];
const EXAMPLES = [
  "vit",
  ...PUBLISHED,
  "dino_vitt16",
  "dino_vitt8",
  ...Object.keys(SIZES).flatMap((size) => [4, 8, 16].map((patch) => `vit_${size}_patch${patch}`)),
];

/** The three numbers of a named size. */
export function archSize(name: ArchSizeName): ArchSize {
  return SIZES[name];
}

function isSize(name: string): name is ArchSizeName {
  return Object.hasOwn(SIZES, name);
}

/** What a preset name says: its size and patch (`vit_small_patch16`, `dino_vits16`), or undefined for `vit` (free sizes). Throws ConfigError. */
export function parseArch(arch: string): { readonly size: ArchSizeName; readonly patchSizePx: number } | undefined {
  if (arch === "vit") return undefined;
  const long = /^vit_([a-z]+)_patch(\d{1,3})(?:_224)?$/.exec(arch);
  const short = /^dino_vit([tsb])(\d{1,3})$/.exec(arch);
  const letter = short?.[1];
  const size = letter === "t" || letter === "s" || letter === "b" ? SHORT[letter] : (long?.[1] ?? "");
  const patchSizePx = Number(long?.[2] ?? short?.[2] ?? 0);
  if (!isSize(size) || patchSizePx < 1)
    throw new ConfigError(
      `Cannot use model.arch "${arch}": there is no such preset; ${nameHint(arch, EXAMPLES)} ("vit" takes free sizes)`,
      {
        keyPath: "model.arch",
      },
    );
  return { size, patchSizePx };
}
