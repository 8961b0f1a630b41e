/**
 * @file Published features of released weights, and where such weights may lie in a folder. DINO spec §5.2: numbers that Meta, Hugging Face
 * and timm test their own code with, of one picture, val2017 000000039769 of COCO.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { CATALOGUE, type CatalogueEntry } from "../../weights/hub/index.ts";

/** The picture of all the numbers. */
export const PICTURE = "000000039769.jpg";

type Numbers = readonly [number, number, number, number, number];

/**
 * The first numbers of the class token and of the first patch, of pictures resized to 224 x 224 px (bilinear, antialias, floats) and
 * normalised as ImageNet is.
 */
export const DINOV3_ANCHORS: readonly (readonly [id: string, cls: Numbers, patch: Numbers])[] = [
  ["dinov3_vits16", [0.463561, -0.415609, 0.408236, -0.126613, -0.286636], [-0.038754, -0.250895, -0.016392, -0.455473, 0.571582]],
  ["dinov3_vitsplus16", [-0.471349, -1.365778, -0.317983, 0.377219, -0.769085], [0.144551, -0.388117, -0.393433, -0.157695, -0.60038]],
  ["dinov3_vitb16", [1.034643, -0.180609, -0.341018, -0.066376, -0.011383], [-0.082523, -0.456272, -0.728029, -0.43068, -0.15288]],
  ["dinov3_vitl16", [0.484527, -0.582214, 0.480636, 0.59204, 0.945166], [-0.211367, -0.490863, -0.257131, 0.101763, 0.154511]],
  ["dinov3_vithplus16", [-0.064575, -0.148866, -0.621524, 0.634878, 0.152695], [-0.093817, 0.287407, -0.050036, 0.428043, 0.094561]],
  ["dinov3_vit7b16", [0.275439, -0.261353, 0.067772, 0.049936, -0.158747], [0.044442, -0.052542, 0.070777, -0.065111, -0.026546]],
  ["dinov3_vitl16_sat", [-0.33235, 0.34052, -0.22087, 0.21434, 0.09003], [0.18488, 0.30309, -0.20689, 0.12848, 0.06207]],
  ["dinov3_vit7b16_sat", [-0.19779, 0.11819, -0.00581, -0.21055, -0.03971], [-0.12423, 0.07879, -0.10057, 0.02835, -0.11727]],
  ["dinov3_convnext_tiny", [-6.372119, 1.300791, 2.074303, -0.079975, 0.607205], [0.49053, -3.713466, 1.848513, -1.040319, -1.090818]],
  ["dinov3_convnext_small", [-0.903914, 1.412183, 0.287465, 0.175296, -2.39794], [-1.081114, 0.637362, 3.748765, 0.170179, 1.445153]],
  ["dinov3_convnext_base", [0.155366, -0.378771, -0.735157, -2.818718, 0.015095], [3.039118, 0.778155, -1.961322, -1.607147, -2.411941]],
  ["dinov3_convnext_large", [-2.219094, -0.594451, -2.300294, -0.957415, -0.520473], [-1.477349, -0.217038, -3.128137, 0.418962, 0.334949]],
];

/** The first three numbers of the first three tokens, by the model's own processor: transformers' integration tests. */
export const TOKEN_ANCHORS: readonly (readonly [id: string, tokens: readonly (readonly [number, number, number])[], count: number])[] = [
  [
    "facebook/dinov2-base",
    [
      [-2.1747, -0.4729, 1.0936],
      [-3.278, -0.8269, -0.921],
      [-2.9129, 1.1284, -0.7306],
    ],
    257,
  ],
  [
    "facebook/dinov2-with-registers-base",
    [
      [-0.4638, -1.4563, -0.0289],
      [-1.4736, -0.8866, 0.3005],
      [0.072, -0.2406, -1.5943],
    ],
    261,
  ],
];

function entryOf(id: string): CatalogueEntry | undefined {
  return CATALOGUE.find((entry) => entry.id === id || entry.hub.includes(id) || entry.originals.some((file) => file.id === id));
}

/** Names that the weights of one release may have in a folder: repositories of the authors, Meta's files. A repository is looked for alone. */
function namesOf(id: string): readonly string[] {
  const isSat = id.endsWith("_sat");
  const entry = entryOf(id) ?? entryOf(id.replace(/_sat$/, ""));
  if (entry === undefined) return [];
  const hub = id.includes("/") ? [id] : entry.hub.filter((name) => name.startsWith("facebook/") && name.endsWith("sat493m") === isSat);
  const files = id.includes("/") ? [] : entry.originals.filter((file) => file.url.includes("sat493m") === isSat);
  return [
    ...hub.flatMap((name) => [name, name.replace("/", "--"), name.replace("facebook/", "")]),
    ...files.flatMap((file) => [
      new URL(file.url).pathname.split("/").at(-1) ?? file.id,
      file.id,
      `${file.id}.pth`,
      `${file.id}.safetensors`,
    ]),
  ];
}

/** What can be opened of a path: a file, a model's folder, or the one file of weights in a folder of the cache. */
async function openable(path: string): Promise<string | undefined> {
  const names = await readdir(path).catch(() => undefined);
  if (names === undefined) return (await stat(path).catch(() => undefined)) === undefined ? undefined : path;
  const file = names.includes("config.json") ? undefined : names.find((name) => /\.(?:pth|safetensors)$/.test(name));
  return file === undefined ? path : join(path, file);
}

/** The weights of a release in a folder, or in its `models` as the cache has them; undefined where they are absent. */
export async function findReleased(folder: string, id: string): Promise<string | undefined> {
  for (const name of namesOf(id))
    for (const place of [join(folder, name), join(folder, "models", name)]) {
      const path = await openable(place);
      if (path !== undefined) return path;
    }
  return undefined;
}

/** The largest distance of what was found from what is wanted; NaN counts as infinitely far. */
export function distance(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  const far = Array.from(wanted, (x, i) => Math.abs(Number(found[i] ?? Number.NaN) - x));
  return far.some(Number.isNaN) ? Infinity : Math.max(...far);
}
