/** @file Perceptual colour maps: values 0..1 to colours that grow evenly lighter, read from short tables. */
import type { FloatMap, RgbImage } from "./picture.ts";

export type ColormapName = "viridis" | "inferno" | "grey";

/** Equally spaced anchor colours; between them the map is linear. */
const TABLES: { readonly [K in ColormapName]: readonly string[] } = {
  viridis: ["440154", "482475", "414487", "355f8d", "2a788e", "21918c", "22a884", "44bf70", "7ad151", "bddf26", "fde725"],
  inferno: ["000004", "160b39", "420a68", "6a176e", "932667", "bc3754", "dd513a", "f37819", "fca50a", "f6d746", "fcffa4"],
  grey: ["000000", "ffffff"],
};

function parseHex(hex: string): readonly [number, number, number] {
  const v = Number.parseInt(hex, 16);
  return [v >> 16, (v >> 8) & 255, v & 255];
}

const ANCHORS: { readonly [K in ColormapName]: readonly (readonly [number, number, number])[] } = {
  viridis: TABLES.viridis.map(parseHex),
  inferno: TABLES.inferno.map(parseHex),
  grey: TABLES.grey.map(parseHex),
};

/** The colour 0..255 of a value 0..1; values outside are cut, NaN is the lowest. */
export function colormap(name: ColormapName, value: number): readonly [r: number, g: number, b: number] {
  const anchors = ANCHORS[name];
  const x = (value > 0 ? Math.min(1, value) : 0) * (anchors.length - 1);
  const i = Math.min(anchors.length - 2, Math.floor(x));
  const [a, b] = [anchors[i]!, anchors[i + 1]!]; // i + 1 < anchors.length
  const mix = (p: number, q: number): number => Math.round(p + (q - p) * (x - i));
  return [mix(a[0], b[0]), mix(a[1], b[1]), mix(a[2], b[2])];
}

/** A one-channel map of values 0..1 as a picture. */
export function paintMap(map: FloatMap, name: ColormapName): RgbImage {
  const data = new Uint8Array(map.rows * map.cols * 3);
  for (let i = 0; i < map.rows * map.cols; i++) data.set(colormap(name, map.data[i] ?? 0), i * 3);
  return { width: map.cols, height: map.rows, data };
}
