/** @file Two pictures of the same things by two illustrators, for trying the page with drawings that anybody may have: Fluent Emoji (MIT) and Noto Emoji (Apache-2.0). */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** One emoji: its name, the middle of its foot and its side, in pixels. */
interface Thing {
  readonly name: string;
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

export interface Scene {
  readonly name: string;
  readonly vendor: "fluent-emoji-flat" | "noto";
  readonly width: number;
  readonly height: number;
  readonly things: readonly Thing[];
}

const things = (rows: readonly (readonly [name: string, x: number, y: number, side: number])[]): readonly Thing[] =>
  rows.map(([name, x, y, side]) => ({ name, x, y, side }));

export const SCENES: readonly [Scene, Scene] = [
  {
    name: "by one illustrator.png",
    vendor: "fluent-emoji-flat",
    width: 960,
    height: 720,
    things: things([
      ["deciduous-tree", 170, 350, 290],
      ["house", 480, 350, 270],
      ["butterfly", 790, 300, 200],
      ["dog", 190, 670, 260],
      ["tulip", 470, 680, 230],
      ["rooster", 760, 670, 270],
    ]),
  },
  {
    name: "by another.png",
    vendor: "noto",
    width: 960,
    height: 720,
    things: things([
      ["rooster", 190, 350, 260],
      ["deciduous-tree", 490, 360, 300],
      ["dog", 780, 350, 250],
      ["tulip", 160, 680, 240],
      ["butterfly", 450, 640, 200],
      ["house", 760, 680, 280],
    ]),
  },
];

interface IconSet {
  readonly width: number;
  readonly icons: Readonly<Record<string, { readonly body: string } | undefined>>;
}

/** Ids inside an icon are its own; two icons in one drawing must not share them. */
function withOwnIds(body: string, prefix: string): string {
  const ids = new Set([...body.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
  const own = body.replaceAll(/ id="([^"]+)"/g, ` id="${prefix}$1"`);
  return own.replaceAll(/#([^)"]+)(?=[)"])/g, (whole, id: string) => (ids.has(id) ? `#${prefix}${id}` : whole)); // others are colours
}

function drawThing({ icons, width }: IconSet, { name, x, y, side }: Thing, index: number): string {
  const icon = icons[name];
  if (icon === undefined) throw new Error(`Cannot draw a scene: there is no emoji "${name}"; choose one of the vendor's`);
  const place = `translate(${x - side / 2} ${y - side}) scale(${side / width})`;
  return `<g transform="${place}">${withOwnIds(icon.body, `i${index}-`)}</g>`;
}

/** A scene as SVG, on white as the demo's network has seen its drawings. */
export async function drawScene({ vendor, width, height, things: drawn }: Scene): Promise<string> {
  const file = fileURLToPath(import.meta.resolve(`@iconify-json/${vendor}/icons.json`));
  const set = JSON.parse(await readFile(file, "utf8")) as IconSet; // npm's, pinned by the lock file
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<rect width="${width}" height="${height}" fill="#fff"/>
${drawn.map((thing, i) => drawThing(set, thing, i)).join("\n")}
</svg>`;
}
