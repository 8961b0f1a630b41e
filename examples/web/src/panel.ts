/** @file One picture: where it is dropped, how it is shown, which patch is under the pointer. */
import { drawMap } from "./paint.ts";
import type { Embedded, Grid, Slot } from "./protocol.ts";

export interface PanelEvents {
  readonly onPicture: (slot: Slot, file: Blob) => void;
  readonly onPatch: (slot: Slot, patch: number) => void;
  readonly onRemove: (slot: Slot) => void;
  /** What stands beside the patch under the pointer. */
  readonly valueOf: (slot: Slot, patch: number) => string | undefined;
}

/** Longest side of a canvas: enough for sharp edges of patches. */
const SIDE_PX = 1024;

const TEMPLATE = `
  <header>
    <span class="tag"></span><span class="name"></span><span class="note"></span>
    <button type="button" class="quiet save" title="Save as it is shown">Save</button><button type="button" class="quiet replace">Replace</button><button type="button" class="quiet remove" aria-label="Remove the picture">✕</button>
  </header>
  <div class="stage">
    <button type="button" class="drop"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 16l4.5-5 4 4 2.5-3 5 5M4 5h16v14H4zM15.5 9.5h.01"/></svg><b>Drop a picture</b><span>or click to choose one, or paste</span></button>
    <canvas class="view" tabindex="0" aria-label="Picture; arrow keys move over patches, Enter chooses one" hidden></canvas>
    <div class="mark own" hidden></div><div class="mark best" hidden></div><div class="mark hover" hidden></div>
    <div class="busy" hidden><i></i></div>
  </div>
  <input type="file" accept="image/*" hidden>`;

export class Panel {
  readonly slot: Slot;
  readonly #root: HTMLElement;
  readonly #canvas: HTMLCanvasElement;
  readonly #events: PanelEvents;
  #bitmap: ImageBitmap | undefined;
  #hovered: number | undefined;
  file: Blob | undefined;
  embedded: Embedded | undefined;

  constructor(slot: Slot, root: HTMLElement, events: PanelEvents) {
    [this.slot, this.#root, this.#events] = [slot, root, events];
    root.innerHTML = TEMPLATE;
    this.#part(".tag").textContent = slot.toUpperCase();
    this.#canvas = this.#part<HTMLCanvasElement>("canvas");
    const input = this.#part<HTMLInputElement>("input");
    for (const name of [".drop", ".replace"]) this.#part(name).addEventListener("click", () => input.click());
    this.#part(".remove").addEventListener("click", () => this.clear());
    this.#part(".save").addEventListener("click", () => this.#save());
    input.addEventListener("change", () => {
      const [file] = input.files ?? [];
      if (file !== undefined) events.onPicture(slot, file);
      input.value = "";
    });
    this.#listenToDrops();
    this.#listenToPointer();
    this.#refresh();
  }

  #part<T extends HTMLElement = HTMLElement>(selector: string): T {
    const found = this.#root.querySelector<T>(selector);
    if (found === null) throw new Error(`Cannot draw the panel: it has no ${selector}; check its template`);
    return found;
  }

  #listenToDrops(): void {
    const root = this.#root;
    root.addEventListener("dragover", (event) => {
      event.preventDefault();
      root.classList.add("over");
    });
    root.addEventListener("dragleave", () => root.classList.remove("over"));
    root.addEventListener("drop", (event) => {
      root.classList.remove("over");
      const file = [...(event.dataTransfer?.files ?? [])].find((f) => f.type.startsWith("image/"));
      if (file === undefined) return; // perhaps a model, for the page
      event.preventDefault();
      this.#events.onPicture(this.slot, file);
    });
  }

  #listenToPointer(): void {
    this.#canvas.addEventListener("click", (event) => {
      const patch = this.#patchAt(event);
      if (patch !== undefined) this.#events.onPatch(this.slot, patch);
    });
    this.#canvas.addEventListener("pointermove", (event) => this.#hover(this.#patchAt(event)));
    for (const leave of ["pointerleave", "blur"] as const) this.#canvas.addEventListener(leave, () => this.#hover(undefined));
    this.#canvas.addEventListener("keydown", (event) => this.#press(event));
  }

  #hover(patch: number | undefined): void {
    this.#hovered = patch;
    this.mark("hover", patch);
    this.#part(".mark.hover").dataset["value"] = patch === undefined ? "" : (this.#events.valueOf(this.slot, patch) ?? "");
  }

  /** Arrow keys move over the patches, Enter chooses. */
  #press(event: KeyboardEvent): void {
    const grid = this.embedded?.grid;
    if (grid === undefined) return;
    const { rows, columns } = grid;
    const at = this.#hovered ?? Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    const [row, column] = [Math.floor(at / columns), at % columns];
    const moves: { readonly [key: string]: readonly [number, number] } = {
      ArrowUp: [Math.max(0, row - 1), column],
      ArrowDown: [Math.min(rows - 1, row + 1), column],
      ArrowLeft: [row, Math.max(0, column - 1)],
      ArrowRight: [row, Math.min(columns - 1, column + 1)],
    };
    const move = moves[event.key];
    if (move === undefined && event.key !== "Enter") return;
    event.preventDefault();
    if (move !== undefined) this.#hover(move[0] * columns + move[1]);
    else this.#events.onPatch(this.slot, at);
  }

  #save(): void {
    this.#canvas.toBlob((blob) => {
      if (blob === null) return;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `tricera-${this.slot}.png`;
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }

  #patchAt(event: MouseEvent): number | undefined {
    const grid = this.embedded?.grid;
    if (grid === undefined) return undefined;
    const box = this.#canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * grid.columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * grid.rows);
    return row >= 0 && row < grid.rows && column >= 0 && column < grid.columns ? row * grid.columns + column : undefined;
  }

  /** Shows a picture, turned by its EXIF as the worker turns it. Throws where the browser cannot decode it. */
  async show(file: Blob): Promise<void> {
    const bitmap = await createImageBitmap(file);
    this.#bitmap?.close();
    [this.#bitmap, this.file, this.embedded] = [bitmap, file, undefined];
    const scale = SIDE_PX / Math.max(bitmap.width, bitmap.height);
    this.#canvas.width = Math.round(bitmap.width * scale);
    this.#canvas.height = Math.round(bitmap.height * scale);
    this.#canvas.style.width = `min(100%, ${(66 * bitmap.width) / bitmap.height}vh)`;
    this.#part(".name").textContent = file instanceof File ? file.name : "pasted picture";
    this.note("");
    this.#refresh();
    this.draw(undefined, { smooth: false, opacity: 0 });
  }

  clear(): void {
    this.#bitmap?.close();
    [this.#bitmap, this.file, this.embedded] = [undefined, undefined, undefined];
    this.#part(".name").textContent = "";
    this.note("");
    for (const name of ["own", "best", "hover"] as const) this.mark(name, undefined);
    this.#refresh();
    this.#events.onRemove(this.slot);
  }

  #refresh(): void {
    const isEmpty = this.#bitmap === undefined;
    this.#root.classList.toggle("empty", isEmpty);
    this.#canvas.hidden = isEmpty;
    this.#part(".drop").hidden = !isEmpty;
    for (const name of [".save", ".replace", ".remove"]) this.#part(name).hidden = isEmpty;
  }

  note(text: string): void {
    this.#part(".note").textContent = text;
  }

  busy(isBusy: boolean): void {
    this.#part(".busy").hidden = !isBusy;
  }

  /** The picture, with a map over it. */
  draw(map: ImageData | undefined, how: { readonly smooth: boolean; readonly opacity: number }): void {
    const context = this.#canvas.getContext("2d");
    if (context === null || this.#bitmap === undefined) return;
    context.drawImage(this.#bitmap, 0, 0, this.#canvas.width, this.#canvas.height);
    if (map !== undefined) drawMap(this.#canvas, map, how);
  }

  /** Puts a frame around a patch, or takes it away. */
  mark(name: "own" | "best" | "hover", patch: number | undefined): void {
    const mark = this.#part(`.mark.${name}`);
    const grid: Grid | undefined = this.embedded?.grid;
    mark.hidden = patch === undefined || grid === undefined;
    if (patch === undefined || grid === undefined) return;
    const [row, column] = [Math.floor(patch / grid.columns), patch % grid.columns];
    const box = this.#canvas;
    const [width, height] = [box.offsetWidth / grid.columns, box.offsetHeight / grid.rows];
    mark.style.transform = `translate(${box.offsetLeft + column * width}px, ${box.offsetTop + row * height}px)`;
    mark.style.width = `${width}px`;
    mark.style.height = `${height}px`;
  }
}
