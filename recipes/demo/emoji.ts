/** @file Real colour pictures that npm carries: emoji by five vendors, drawn once and kept in `.cache/`. */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { Rng } from "../../src/core/index.ts";
import { encodePng, renderSvg } from "../../src/images/node/index.ts";
import { writeFileAtomic } from "../../src/weights/index.ts";

export const VENDORS = ["noto", "twemoji", "fluent-emoji-flat", "emojione", "noto-v1"] as const;
export const SIDE_PX = 64;

/** One drawing of one thing. */
export interface Drawing {
  readonly path: string;
  /** Code points without variation selectors and skin tones. */
  readonly identity: string;
  readonly vendor: string;
}

interface IconSet {
  readonly icons: Readonly<Record<string, { readonly body: string; readonly width?: number; readonly height?: number } | undefined>>;
  readonly width?: number;
  readonly height?: number;
}

const IGNORED = /^(fe0f|fe0e)$/;
const SKIN_TONE = /^1f3f[b-f]$/;

/** The identity of a code point sequence, or undefined for a skin-tone variant. */
export function identityOf(codePoints: string): string | undefined {
  const parts = codePoints
    .toLowerCase()
    .split("-")
    .filter((p) => !IGNORED.test(p));
  return parts.some((p) => SKIN_TONE.test(p)) ? undefined : parts.join("-");
}

/** The drawings of one vendor: rendered on white where they are not in the cache. */
async function drawVendor(
  vendor: string,
  { root, cache, onDrawn }: { readonly root: string; readonly cache: string; readonly onDrawn: () => void },
): Promise<readonly Drawing[]> {
  const folder = join(root, "node_modules", "@iconify-json", vendor);
  // both files are npm's, pinned by the lock file
  const set = JSON.parse(await readFile(join(folder, "icons.json"), "utf8")) as IconSet;
  const chars = JSON.parse(await readFile(join(folder, "chars.json"), "utf8")) as Readonly<Record<string, string>>;
  const there = new Set(await readdir(join(cache, vendor)).catch(() => []));
  const drawings = new Map<string, Drawing>();
  for (const [codePoints, name] of Object.entries(chars)) {
    const identity = identityOf(codePoints);
    const icon = set.icons[name];
    if (identity === undefined || icon === undefined || drawings.has(identity)) continue;
    const path = join(cache, vendor, `${identity}.png`);
    drawings.set(identity, { path, identity, vendor });
    if (there.has(`${identity}.png`)) continue;
    const [w, h] = [icon.width ?? set.width ?? 16, icon.height ?? set.height ?? 16];
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 ${w} ${h}" width="${w}" height="${h}">${icon.body}</svg>`;
    await writeFileAtomic(path, await encodePng(await renderSvg(new TextEncoder().encode(svg), SIDE_PX)));
    onDrawn();
  }
  return [...drawings.values()];
}

/** All drawings, and which identities are held out (30 %, by seed; the first code point decides, so variants stay together). */
export async function emojiDrawings(
  root: string,
  onProgress: (drawn: number) => void,
): Promise<{ readonly train: readonly Drawing[]; readonly test: readonly Drawing[] }> {
  let drawn = 0;
  const onDrawn = (): void => onProgress(++drawn);
  const cache = join(root, ".cache", "emoji");
  const all = (await Promise.all(VENDORS.map((vendor) => drawVendor(vendor, { root, cache, onDrawn })))).flat();
  const isTest = (d: Drawing): boolean => new Rng(7).split(`hold-out/${d.identity.split("-")[0] ?? ""}`).uniform() < 0.3;
  return { train: all.filter((d) => !isTest(d)), test: all.filter(isTest) };
}
