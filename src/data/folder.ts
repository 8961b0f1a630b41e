/** @file Images of a folder and all folders below it. */
import { opendir, realpath, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { FormatError, PlatformError } from "../core/index.ts";
import type { DataEntry } from "./entry.ts";
import { IMAGE_SUFFIXES, isImageName } from "./image-names.ts";

export interface ListOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onNotice?: ((line: string) => void) | undefined;
}

/** The reason of a failed system call in words. */
export function reasonOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const words: Readonly<Record<string, string>> = {
    ENOENT: "it does not exist",
    EACCES: "you have no right to read it",
    EPERM: "you have no right to read it",
    ELOOP: "its links lead in a circle",
    ENOTDIR: "it is not a folder",
  };
  return words[code] ?? (error instanceof Error ? error.message : String(error));
}

interface Walk {
  readonly files: { path: string; bytes: number; mtimeMs: number }[];
  /** Real paths of the folders on the way down: a link to one of them is a loop. */
  readonly above: readonly string[];
  readonly other: Map<string, number>;
  readonly options: ListOptions;
}

async function walk(folder: string, state: Walk): Promise<void> {
  state.options.signal?.throwIfAborted();
  const real = await realpath(folder);
  if (state.above.includes(real)) {
    state.options.onNotice?.(`Leaving out "${folder}": its link leads back to a folder above it`);
    return;
  }
  const inside = { ...state, above: [...state.above, real] };
  for await (const { name } of await opendir(folder)) {
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

/** The first folder below the root names the class, when every image lies in one and there are at least two. */
function labelled(root: string, files: Walk["files"]): DataEntry[] {
  const top = files.map(({ path }) => relative(root, path).split(sep));
  const names = new Set(top.map(([first]) => first));
  const areClasses = names.size >= 2 && top.every((parts) => parts.length >= 2);
  return files.map((file, i) => ({ ...file, ...(areClasses ? { label: top[i]?.[0] ?? "" } : {}) }));
}

/** All images below `folder`; links are followed, loops and unreadable files are left out with a notice. */
export async function listFolder(folder: string, options: ListOptions = {}): Promise<readonly DataEntry[]> {
  const state: Walk = { files: [], above: [], other: new Map(), options };
  try {
    await walk(folder, state);
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw new PlatformError(`Cannot read folder "${folder}": ${reasonOf(cause)}; check --data`, { cause });
  }
  if (state.files.length === 0)
    throw new FormatError(`Cannot find images in "${folder}": ${describeOthers(state.other)}; put files with ${IMAGE_SUFFIXES} there`, {
      file: folder,
    });
  return labelled(folder, state.files);
}
