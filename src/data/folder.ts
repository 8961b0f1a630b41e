/** @file Images of a folder and all folders below it. */
import { opendir, realpath, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { FormatError, PlatformError } from "../core/index.ts";
import type { DataEntry } from "./entry.ts";
import { IMAGE_SUFFIXES, isImageName } from "./image-names.ts";
import { classesByFolder } from "./labels.ts";
import { reasonOf } from "./reason.ts";

export interface ListOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onNotice?: ((line: string) => void) | undefined;
  /** Where classes come from: `folder` (default; also a manifest's own labels and webdataset's `.cls`), `none`, or a file of path,label. */
  readonly labels?: string | undefined;
}

interface Walk {
  readonly files: { path: string; bytes: number; mtimeMs: number }[];
  /** Real paths of the folders on the way down: a link to one of them is a loop. */
  readonly above: readonly string[];
  readonly other: Map<string, number>;
  readonly options: ListOptions;
}

async function walk(folder: string, state: Walk): Promise<void> {
  const { signal } = state.options;
  signal?.throwIfAborted();
  const cannot = (cause: unknown): never => {
    throw new PlatformError(`Cannot read folder "${folder}": ${reasonOf(cause)}; check --data`, { cause });
  };
  const real = await realpath(folder).catch(cannot);
  if (state.above.includes(real)) {
    state.options.onNotice?.(`Leaving out "${folder}": its link leads back to a folder above it`);
    return;
  }
  const inside = { ...state, above: [...state.above, real] };
  for await (const { name } of await opendir(folder).catch(cannot)) {
    const path = join(folder, name);
    const found = await stat(path).catch((error: unknown) => {
      state.options.onNotice?.(`Leaving out "${path}": ${reasonOf(error)}`);
    });
    if (found === undefined) continue;
    if (found.isDirectory()) {
      if (!name.startsWith(".")) await walk(path, inside);
    } else if (isImageName(name) && found.isFile()) state.files.push({ path, bytes: found.size, mtimeMs: Math.trunc(found.mtimeMs) });
    else count(state.other, name);
  }
}

function count(kinds: Map<string, number>, name: string): void {
  const dot = name.lastIndexOf(".");
  const kind = dot > 0 ? name.slice(dot) : "files without a suffix";
  kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
}

/** What was found instead of images: "it has 3 × .txt, 1 × .csv". */
export function describeOthers(kinds: ReadonlyMap<string, number>): string {
  if (kinds.size === 0) return "it is empty";
  const most = [...kinds].sort((a, b) => b[1] - a[1]).slice(0, 4);
  return `it has ${most.map(([kind, n]) => `${n} × ${kind}`).join(", ")} and no image`;
}

/**
 * All images below `folder`; links are followed, loops and unreadable files are left out with a notice. The first folder below it names the
 * class, when every image lies in one and there are at least two.
 */
export async function listFolder(folder: string, options: ListOptions = {}): Promise<readonly DataEntry[]> {
  const state: Walk = { files: [], above: [], other: new Map(), options };
  await walk(folder, state);
  if (state.files.length === 0)
    throw new FormatError(`Cannot find images in "${folder}": ${describeOthers(state.other)}; put files with ${IMAGE_SUFFIXES} there`, {
      file: folder,
    });
  const labels = classesByFolder(state.files.map(({ path }) => relative(folder, path).split(sep).join("/")));
  return labels === undefined ? state.files : state.files.map((file, i) => ({ ...file, label: labels[i] ?? "" }));
}
