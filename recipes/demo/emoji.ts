/** @file Real colour pictures that npm carries: emoji by five vendors, drawn once and kept in `.cache/`. */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { type JobOptions, Rng } from "../../src/core/index.ts";
import { encodePng, renderSvg } from "../../src/images/node/index.ts";
import { writeFileAtomic } from "../../src/weights/index.ts";

export const VENDORS = ["noto", "twemoji", "fluent-emoji-flat", "emojione", "noto-v1"] as const;
export const SIDE_PX = 64;
/** Share of the things that are held out. */
const HELD_OUT = 0.3;
/** Drawings that are rendered at once; the renderer works on threads of its own. */
const AT_ONCE = 8;

/** One drawing of one thing. */
export interface Drawing {
  readonly path: string;
  /** Code points without variation selectors and skin tones. */
  readonly identity: string;
  /** The vendor's name of the thing: `red-heart`. */
  readonly name: string;
  readonly vendor: string;
}

export interface Emoji {
  readonly train: readonly Drawing[];
  /** Drawings of things that `train` has no drawing of. */
  readonly test: readonly Drawing[];
}

interface IconSet {
  readonly icons: Readonly<Record<string, { readonly body: string; readonly width?: number; readonly height?: number } | undefined>>;
  readonly width?: number;
  readonly height?: number;
}

/** A drawing that is not in the cache yet. */
interface Missing {
  readonly path: string;
  readonly svg: string;
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

function svgOf({ width, height }: IconSet, icon: NonNullable<IconSet["icons"][string]>): string {
  const [w, h] = [icon.width ?? width ?? 16, icon.height ?? height ?? 16];
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 ${w} ${h}" width="${w}" height="${h}">${icon.body}</svg>`;
}

/** Every drawing of a vendor, and those that have still to be rendered. */
async function listVendor(
  vendor: string,
  { root, cache }: { readonly root: string; readonly cache: string },
): Promise<{ readonly drawings: readonly Drawing[]; readonly missing: readonly Missing[] }> {
  const folder = join(root, "node_modules", "@iconify-json", vendor);
  // both files are npm's, pinned by the lock file
  const set = JSON.parse(await readFile(join(folder, "icons.json"), "utf8")) as IconSet;
  const chars = JSON.parse(await readFile(join(folder, "chars.json"), "utf8")) as Readonly<Record<string, string>>;
  const there = new Set(await readdir(join(cache, vendor)).catch(() => []));
  const drawings = new Map<string, Drawing>();
  const missing: Missing[] = [];
  for (const [codePoints, name] of Object.entries(chars)) {
    const identity = identityOf(codePoints);
    const icon = set.icons[name];
    if (identity === undefined || icon === undefined || drawings.has(identity)) continue;
    const path = join(cache, vendor, `${identity}.png`);
    drawings.set(identity, { path, identity, name, vendor });
    if (!there.has(`${identity}.png`)) missing.push({ path, svg: svgOf(set, icon) });
  }
  return { drawings: [...drawings.values()], missing };
}

/** Renders drawings on white, some at once. */
async function drawAll(missing: readonly Missing[], { onProgress, signal }: JobOptions): Promise<void> {
  let [next, done] = [0, 0];
  const drawSome = async (): Promise<void> => {
    for (let job = missing[next++]; job !== undefined; job = missing[next++]) {
      signal?.throwIfAborted();
      await writeFileAtomic(job.path, await encodePng(await renderSvg(new TextEncoder().encode(job.svg), SIDE_PX)));
      onProgress?.({ what: "drawing", done: ++done, total: missing.length, unit: "emoji" });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, drawSome));
}

/** All drawings, and which identities are held out (30 %, by seed; the first code point decides, so variants stay together). */
export async function emojiDrawings(root: string, job: JobOptions = {}): Promise<Emoji> {
  const cache = join(root, ".cache", "emoji");
  const vendors = await Promise.all(VENDORS.map((vendor) => listVendor(vendor, { root, cache })));
  await drawAll(
    vendors.flatMap((v) => v.missing),
    job,
  );
  const all = vendors.flatMap((v) => v.drawings);
  const isTest = (d: Drawing): boolean => new Rng(7).split(`hold-out/${d.identity.split("-")[0] ?? ""}`).uniform() < HELD_OUT;
  return { train: all.filter((d) => !isTest(d)), test: all.filter(isTest) };
}
