/** @file Where a labelled dense set keeps its images and their masks. */
import { stat } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { FormatError, nameHint } from "../core/index.ts";
import { DATA_SHEET, type DataSheet, readDataSheet } from "./dense-sheet.ts";

/** Absolute folders of one split, and what its ids mean. */
export interface DenseFolders {
  readonly images: string;
  readonly masks: string;
  readonly ignore: readonly number[];
  /** Names by id, where the set tells them. */
  readonly classes: readonly string[] | undefined;
}

/** CamVid's ids (SegNet's 11 classes and void). */
const CAMVID_CLASSES = "sky building pole road sidewalk tree sign fence car pedestrian bicyclist void".split(" ");
const CAMVID_VOID = 11;
/** Void of most sets: VOC, Cityscapes' train ids, ADE20K less one. */
const USUAL_VOID = 255;
const MASK_FOLDERS = ["masks", "annotations", "labels"];

const isFolder = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isDirectory() === true;

type Known = Omit<DenseFolders, "images" | "masks">;

function knownOf({ layout, ignoreIds, classes }: DataSheet): Known {
  if (layout === "camvid") return { ignore: ignoreIds ?? [CAMVID_VOID], classes: classes ?? CAMVID_CLASSES };
  return { ignore: ignoreIds ?? [USUAL_VOID], classes };
}

const annotated = ({ layout }: DataSheet, images: string): string => (layout === "camvid" ? `${images}annot` : "masks");

/** The set itself has a sheet: folders of the whole set, or splits to choose from. */
function ofSheet(path: string, sheet: DataSheet): DenseFolders {
  const names = Object.keys(sheet.splits ?? {});
  if (names.length > 0)
    throw new FormatError(
      `Cannot choose among the splits of "${path}": they are ${names.join(", ")}; give one, such as ${join(path, names[0] ?? "")}`,
      {
        file: path,
      },
    );
  const { images = "images" } = sheet;
  return { images: join(path, images), masks: join(path, sheet.masks ?? annotated(sheet, images)), ...knownOf(sheet) };
}

/** The folder above has a sheet: `path` names a split of it, or its folder of images. */
function ofSplit(path: string, sheet: DataSheet): DenseFolders | undefined {
  const [root, name] = [dirname(path), basename(path)];
  if (sheet.splits === undefined) return name === (sheet.images ?? "images") ? ofSheet(root, sheet) : undefined;
  const split = sheet.splits[name] ?? Object.values(sheet.splits).find(({ images }) => images === name);
  if (split === undefined)
    throw new FormatError(
      `Cannot find "${name}" among the splits in "${join(root, DATA_SHEET)}": it is not there; ${nameHint(name, Object.keys(sheet.splits))}`,
      { file: join(root, DATA_SHEET) },
    );
  const { images = name, masks = sheet.masks?.replaceAll("{split}", name) ?? annotated(sheet, images) } = split;
  return { images: join(root, images), masks: join(root, masks), ...knownOf(sheet) };
}

/** `x/images/train` -> `x/masks/train`, for the last folder that is called images. */
function besideImages(path: string): readonly string[] {
  const parts = path.split(sep);
  const at = parts.lastIndexOf("images");
  return at < 0 ? [] : MASK_FOLDERS.map((name) => parts.with(at, name).join(sep));
}

async function ofNames(path: string): Promise<DenseFolders | undefined> {
  if (await isFolder(`${path}annot`)) return { images: path, masks: `${path}annot`, ignore: [CAMVID_VOID], classes: CAMVID_CLASSES };
  const usual = { ignore: [USUAL_VOID], classes: undefined };
  const inner = join(path, "images");
  if (await isFolder(inner))
    for (const masks of MASK_FOLDERS.map((name) => join(path, name))) if (await isFolder(masks)) return { images: inner, masks, ...usual };
  for (const masks of besideImages(path)) if (await isFolder(masks)) return { images: path, masks, ...usual };
  return undefined;
}

async function whatIsWrong(path: string): Promise<string> {
  if (!(await isFolder(path))) return "it is no folder; give a folder of images with masks";
  for (const split of ["train", "val", "test"])
    if (await isFolder(join(path, `${split}annot`))) return `it holds several splits; give one, such as ${join(path, split)}`;
  return `there is no folder of masks; put them into ${basename(path)}annot beside it, masks beside a folder called images, or name them in ${DATA_SHEET}`;
}

/**
 * The folders of a labelled dense set: by `tricera-data.yaml` in it or above it; `X` with `Xannot` beside it (CamVid, 11 is void); `images` with
 * `masks`, `annotations` or `labels` beside it, in the set or above it. Throws FormatError when there are no masks to be found.
 */
export async function denseFolders(spec: string): Promise<DenseFolders> {
  const path = resolve(spec);
  const own = await readDataSheet(path);
  const above = own === undefined ? await readDataSheet(dirname(path)) : undefined;
  const named = own !== undefined ? ofSheet(path, own) : above !== undefined ? ofSplit(path, above) : undefined;
  const found = named ?? (await ofNames(path));
  if (found === undefined) throw new FormatError(`Cannot find the masks of "${spec}": ${await whatIsWrong(path)}`, { file: path });
  for (const folder of [found.images, found.masks])
    if (!(await isFolder(folder)))
      throw new FormatError(`Cannot use "${spec}": "${folder}" is no folder; check ${DATA_SHEET}`, { file: folder });
  return found;
}
