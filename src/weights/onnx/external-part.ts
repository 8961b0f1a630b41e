/** @file Weights of an ONNX model that lie in files beside it: where, and whether they may and can be read. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { FormatError } from "../../core/index.ts";
import { FIELDS, type WireField } from "../../engine/onnx/index.ts";
import { allOf, lastOf, readEntry } from "./fields.ts";

/** Where a weight's bytes lie. */
export interface ExternalPart {
  readonly tensor: string;
  /** Below the model's folder. */
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

const { EXTERNAL, TENSOR } = FIELDS;

interface Tensor {
  readonly name: string;
  /** The model. */
  readonly path: string;
  /** Of the tensor; undefined where its element type is not known. */
  readonly bytes: number | undefined;
}

function fail(path: string, state: string, todo = "export or download it again"): never {
  throw new FormatError(`Cannot open "${path}": ${state}; ${todo}`, { file: path });
}

/** Where a tensor says that it lies; undefined for one that lies in the model. Throws FormatError for places outside of the model's folder. */
export function externalOf(fields: readonly WireField[], { name, path, bytes }: Tensor): ExternalPart | undefined {
  if (lastOf(fields, TENSOR.location)?.number !== EXTERNAL) return undefined;
  const said = new Map(allOf(fields, TENSOR.external).map(readEntry));
  const location = said.get("location") ?? "";
  checkLocation(location, { name, path });
  const number = (key: string, otherwise: number): number => {
    const text = said.get(key) ?? String(otherwise);
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    return Number.isSafeInteger(value) ? value : fail(path, `the ${key} of its weight "${name}" in "${location}" is "${text}"`);
  };
  const [offset, length] = [number("offset", 0), number("length", bytes ?? 0)];
  if (bytes !== undefined && length !== bytes)
    fail(path, `its weight "${name}" has ${bytes} bytes, "${location}" is said to have ${length} of it`);
  return { tensor: name, location, offset, length };
}

/** A model may name files below its own folder only: whoever wrote it does not choose what else of this machine is read. */
function checkLocation(location: string, { name, path }: Pick<Tensor, "name" | "path">): void {
  const parts = location.split(/[\\/]/);
  const isInside = location !== "" && !/^([\\/]|[a-zA-Z]:)/.test(location) && !parts.includes("..") && !location.includes("\0");
  if (isInside) return;
  fail(path, `its weight "${name}" is said to lie at "${location}", which is outside of the model's folder`, "do not use this file");
}

/** The files of a model's parts, by name below its folder. Throws FormatError where one is missing or shorter than the model says. */
export async function checkExternal(
  parts: readonly ExternalPart[],
  { path, dir }: { readonly path: string; readonly dir: string },
): Promise<readonly string[]> {
  const ends = new Map<string, number>();
  for (const { location, offset, length } of parts) ends.set(location, Math.max(ends.get(location) ?? 0, offset + length));
  for (const [location, end] of ends) {
    const found = await stat(join(dir, location)).catch(() => undefined);
    if (found?.isFile() !== true)
      fail(path, `its weights lie in "${location}", which is not beside it`, "copy that file, too, under that name");
    if (found.size < end)
      fail(path, `"${location}" has ${found.size} bytes, its weights need ${end}`, "download or export both files again");
  }
  return [...ends.keys()];
}
