/** @file Who drew the pictures of the demo, and what one may do with them: read from the packages they come in. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Block, Credit } from "../../src/views/index.ts";

interface IconSetInfo {
  readonly name: string;
  readonly author: { readonly name: string };
  readonly license: { readonly title: string; readonly spdx?: string; readonly url?: string };
}

/** The credit of an icon set in `node_modules/@iconify-json`. */
export async function creditOf(root: string, vendor: string): Promise<Credit> {
  // npm's file, pinned by the lock file; its form is Iconify's
  const info = JSON.parse(await readFile(join(root, "node_modules", "@iconify-json", vendor, "info.json"), "utf8")) as IconSetInfo;
  const { title, spdx, url } = info.license;
  const isSame = spdx === undefined || spdx.replaceAll("-", " ") === title.replaceAll("-", " ");
  const licence = isSame ? title : `${title} (${spdx})`;
  return { name: info.name, author: info.author.name, licence, ...(url === undefined ? {} : { url }) };
}

/** The line under pictures. Every table of the demo shows drawings of all sets. */
export function creditsBlock(credits: ReadonlyMap<string, Credit>): Block {
  return { kind: "credits", title: "Drawings:", credits: [...credits.values()] };
}
