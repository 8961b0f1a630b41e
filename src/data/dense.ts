/** @file Labelled dense sets: images and masks of the same names, one class id a pixel (contracts 31). */
import { relative } from "node:path";
import { FormatError, type JobOptions } from "../core/index.ts";
import { loadMask, type MaskImage, readImageSize } from "../images/node/index.ts";
import { denseFolders } from "./dense-layout.ts";
import { type DataEntry, type DataList, makeList } from "./entry.ts";
import { listFolder } from "./folder.ts";
import { holdOut } from "./hold-out.ts";
import { withLabel } from "./labels.ts";

/** Images in their fixed order, each with its mask. */
export interface DenseList {
  readonly images: DataList;
  /** Absolute path of the mask of every image, in the order of the images. */
  readonly masks: readonly string[];
  /** Ids of pixels without a class. */
  readonly ignore: readonly number[];
  /** Names by id, where the set tells them; no other ids may occur then. */
  readonly classes: readonly string[] | undefined;
}

export interface ListDenseOptions extends Pick<JobOptions, "signal" | "onNotice"> {
  /** Ids of pixels without a class, instead of what the set says. */
  readonly ignore?: readonly number[] | undefined;
}

/** Files looked into at once. */
const AT_ONCE = 32;

/** "a, b, c, ..." */
function some(names: readonly string[]): string {
  return `${names
    .slice(0, 3)
    .map((n) => `"${n}"`)
    .join(", ")}${names.length > 3 ? ", ..." : ""}`;
}

/** Files by their path below the folder, without suffix. */
function byName(folder: string, entries: readonly DataEntry[]): ReadonlyMap<string, DataEntry> {
  const named = new Map<string, DataEntry>();
  for (const entry of entries) {
    const name = relative(folder, entry.path).replace(/\.[^./\\]+$/, "");
    const twin = named.get(name);
    if (twin !== undefined)
      throw new FormatError(`Cannot pair images and masks: "${twin.path}" and "${entry.path}" differ in their suffix only; remove one`, {
        file: entry.path,
      });
    named.set(name, entry);
  }
  return named;
}

type Named = ReadonlyMap<string, DataEntry>;

function checkNames(spec: string, images: Named, masks: Named): void {
  const missing = [...images.keys()].filter((name) => !masks.has(name));
  if (missing.length === 0) return;
  if (missing.length === images.size)
    throw new FormatError(
      `Cannot pair the images of "${spec}" with masks: no names agree (images ${some([...images.keys()])}, masks ${some([...masks.keys()])}); give a mask the name of its image`,
      { file: spec },
    );
  throw new FormatError(
    `Cannot pair the images of "${spec}" with masks: ${missing.length} of ${images.size} images have none (${some(missing)}); add them, or remove the images`,
    { file: spec },
  );
}

interface Pair {
  readonly image: DataEntry;
  readonly mask: DataEntry;
}

const sizeText = ({ width, height }: { readonly width: number; readonly height: number }): string => `${width}x${height}`;

async function sizesOf({ image, mask }: Pair): Promise<readonly [image: string, mask: string]> {
  const [a, b] = await Promise.all([readImageSize({ path: image.path }), readImageSize({ path: mask.path })]);
  return [sizeText(a), sizeText(b)];
}

/** A broken image has no size here; who reads it says so. */
async function checkSizes(spec: string, pairs: readonly Pair[], signal: AbortSignal | undefined): Promise<void> {
  const wrong: string[] = [];
  for (let i = 0; i < pairs.length; i += AT_ONCE) {
    signal?.throwIfAborted();
    const part = pairs.slice(i, i + AT_ONCE);
    const sizes = await Promise.all(part.map((pair) => sizesOf(pair).catch(() => undefined)));
    sizes.forEach((found, j) => {
      if (found !== undefined && found[0] !== found[1]) wrong.push(`"${part[j]?.mask.path ?? ""}" is ${found[1]}, its image ${found[0]}`);
    });
  }
  if (wrong.length > 0)
    throw new FormatError(
      `Cannot use the masks of "${spec}": ${wrong.length} of ${pairs.length} have another size than their image (${wrong[0] ?? ""}); make them equal, masks without smoothing`,
      { file: spec },
    );
}

/**
 * Images and masks of a labelled dense set. `spec`: a folder of images with its masks beside it, in CamVid's or another known layout
 * (`denseFolders()`), or named by `tricera-data.yaml`. Throws FormatError for missing masks, names that do not agree and sizes that differ.
 */
export async function listDense(spec: string, options: ListDenseOptions = {}): Promise<DenseList> {
  const { signal, onNotice } = options;
  const { images: imageFolder, masks: maskFolder, ignore, classes } = await denseFolders(spec);
  const images = byName(imageFolder, await listFolder(imageFolder, { signal, onNotice }));
  const masks = byName(maskFolder, await listFolder(maskFolder, { signal, onNotice }));
  checkNames(spec, images, masks);
  const list = makeList([...images.values()].map((entry) => withLabel(entry, undefined)));
  const maskOf = new Map([...images].map(([name, { path }]) => [path, masks.get(name)]));
  const pairs = list.entries.flatMap((image): readonly Pair[] => {
    const mask = maskOf.get(image.path);
    return mask === undefined ? [] : [{ image, mask }];
  });
  await checkSizes(spec, pairs, signal);
  if (masks.size > images.size) onNotice?.(`Leaving out ${masks.size - images.size} masks of "${maskFolder}": they have no image`);
  return { images: list, masks: pairs.map(({ mask }) => mask.path), ignore: options.ignore ?? ignore, classes };
}

/** The mask of row `index`. Throws FormatError when it is broken, or an id is neither a class nor void. */
export async function loadDenseMask({ masks, classes, ignore }: DenseList, index: number): Promise<MaskImage> {
  const path = masks[index];
  if (path === undefined) throw new RangeError(`Cannot take mask ${index}: the list has ${masks.length} masks; give a smaller index`);
  const mask = await loadMask(path);
  if (classes === undefined) return mask;
  const wrong = mask.ids.find((id) => id >= classes.length && !ignore.includes(id));
  if (wrong === undefined) return mask;
  throw new FormatError(
    `Cannot use mask "${path}": it has the id ${wrong}, classes are 0 to ${classes.length - 1}; correct the mask, or the classes or ignoreIds of its data set`,
    { file: path },
  );
}

/** Every `every`-th image is held out, with its mask. Throws ConfigError when nothing would be left to vote. */
export function holdOutDense(list: DenseList, every = 5): { readonly train: DenseList; readonly test: DenseList } {
  const maskOf = new Map(list.images.entries.map((entry, i) => [entry.path, list.masks[i]]));
  const part = (images: DataList): DenseList => ({ ...list, images, masks: images.entries.map(({ path }) => maskOf.get(path) ?? "") });
  const { train, test } = holdOut(list.images, every);
  return { train: part(train), test: part(test) };
}
