/** @file The strip of attention heads, small pictures to choose from. */
import { drawMap, headOf, heatMap, peaksCut } from "./paint.ts";
import type { Embedded } from "./protocol.ts";

/** A head's number, or the mean of all. */
export type Head = number | "mean";

export interface HeadsOptions {
  /** The pictures shown; none, and the strip is hidden. */
  readonly pictures: readonly Embedded[];
  readonly chosen: Head;
  readonly smooth: boolean;
  readonly onChoose: (head: Head) => void;
}

const WIDTH_PX = 88;

/** Draws the strip anew; a convolutional network has none. */
export function drawHeads(strip: HTMLElement, options: HeadsOptions): void {
  const shown = options.pictures.filter(({ attention }) => attention.length > 0);
  const [first] = shown;
  strip.hidden = first === undefined;
  if (first === undefined) return strip.replaceChildren();
  const heads = first.attention.length / (first.grid.rows * first.grid.columns);
  const names: readonly Head[] = ["mean", ...Array.from({ length: heads }, (_, i) => i)];
  strip.replaceChildren(...names.map((name) => button(name, { ...options, pictures: shown })));
}

function button(name: Head, { pictures, chosen, smooth, onChoose }: HeadsOptions): HTMLButtonElement {
  const element = document.createElement("button");
  element.type = "button";
  element.setAttribute("aria-pressed", String(name === chosen));
  const thumbs = document.createElement("span");
  thumbs.className = "thumbs";
  thumbs.append(...pictures.map((picture) => thumb(picture, { name, smooth })));
  const label = document.createElement("small");
  label.textContent = name === "mean" ? "all heads" : `head ${name + 1}`;
  element.append(thumbs, label);
  element.addEventListener("click", () => onChoose(name));
  return element;
}

function thumb({ grid, attention }: Embedded, { name, smooth }: { readonly name: Head; readonly smooth: boolean }): HTMLCanvasElement {
  const values = headOf(attention, grid, name);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [WIDTH_PX, Math.max(1, Math.round((WIDTH_PX * grid.rows) / grid.columns))];
  drawMap(canvas, heatMap(values, grid, peaksCut(values)), { smooth });
  return canvas;
}
