/** @file The page: a model, two pictures, and three ways to look at their patches. */
import "./style.css";
import type { Progress } from "tricera/web";
import { Client, Stopped } from "./client.ts";
import { listenToFiles } from "./files.ts";
import { drawHeads } from "./heads.ts";
import { drawRamp, headOf, heatMap, peaksCut, rangeOf, rgbMap } from "./paint.ts";
import { Panel, type PanelEvents } from "./panel.ts";
import { type ModelInfo, type Similar, type Slot, SLOTS } from "./protocol.ts";

type View = "picture" | "colours" | "similar" | "attention";

const byId = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T; // ids of index.html

const status = byId("status");
const bar = byId<HTMLProgressElement>("progress");
const stop = byId<HTMLButtonElement>("stop");
const client = new Client(showProgress);

let info: ModelInfo | undefined;
let view: View = "colours";
let head: number | "mean" = "mean";
let colours: Partial<Record<Slot, Uint8Array>> = {};
let chosen: { readonly slot: Slot; readonly patch: number; readonly maps: Partial<Record<Slot, Similar>> } | undefined;
let chosenFiles: readonly File[] | undefined;
let loading: AbortController | undefined;

const events: PanelEvents = {
  onPicture: (slot, file) => void setPicture(slot, file),
  onPatch: (slot, patch) => void choosePatch(slot, patch),
  onRemove: (slot) => void removePicture(slot),
  valueOf: (slot, patch) => (view === "similar" ? chosen?.maps[slot]?.values[patch]?.toFixed(2) : undefined),
};
const panels: Readonly<Record<Slot, Panel>> = {
  a: new Panel("a", byId("panel-a"), events),
  b: new Panel("b", byId("panel-b"), events),
};

function say(text: string, kind: "plain" | "good" | "bad" = "plain"): void {
  status.textContent = text;
  status.className = kind;
}

function showProgress({ detail = "", done, total }: Progress): void {
  const mb = (bytes: number): string => (bytes / 1e6).toFixed(1);
  bar.hidden = false;
  bar.value = total > 0 ? done / total : 0;
  say(`Fetching ${detail}: ${mb(done)} of ${mb(total)} MB`);
}

async function loadModel(): Promise<void> {
  const typed = byId<HTMLInputElement>("source").value.trim();
  const source = chosenFiles ?? typed;
  if (source === "" || source.length === 0) return say("Choose a model's files, or name one", "bad");
  loading?.abort();
  const mine = (loading = new AbortController());
  stop.hidden = false;
  say("Opening the model …");
  const size = Number(byId<HTMLSelectElement>("size").value);
  const device = byId<HTMLSelectElement>("device").value as "auto" | "wasm" | "webgpu"; // the options of index.html
  try {
    info = await client.call("load", { source, device, imageSizePx: size === 0 ? undefined : size }, mine.signal);
    const { width, patchSizePx, heads, imageSizePx } = info;
    const what = heads > 0 ? `${heads} heads, patches of ${patchSizePx} px` : `convolutional, stride ${patchSizePx} px`;
    say(
      `Ready on ${info.device === "webgpu" ? "WebGPU" : "WebAssembly"}: ${width} numbers a patch, ${what}, short side ${imageSizePx} px`,
      "good",
    );
    document.body.classList.add("ready");
    chosen = undefined;
    for (const slot of SLOTS) if (panels[slot].file !== undefined) await embed(slot);
  } catch (error) {
    if (loading === mine)
      say(
        error instanceof Stopped ? "Stopped; a new try goes on where it was" : (error as Error).message,
        error instanceof Stopped ? "plain" : "bad",
      );
  } finally {
    if (loading === mine) [stop.hidden, bar.hidden] = [true, true];
  }
}

async function setPicture(slot: Slot, file: Blob): Promise<void> {
  try {
    await panels[slot].show(file);
    chosen = undefined;
    if (info === undefined) panels[slot].note("waits for a model");
    else await embed(slot);
  } catch (error) {
    say((error as Error).message, "bad");
  }
}

async function embed(slot: Slot): Promise<void> {
  const panel = panels[slot];
  const { file } = panel;
  if (file === undefined) return;
  panel.busy(true);
  try {
    const embedded = await client.call("embed", { slot, picture: file });
    if (panel.file !== file) return; // another picture came meanwhile
    panel.embedded = embedded;
    panel.note(`${embedded.grid.columns} × ${embedded.grid.rows} patches · ${(embedded.ms / 1000).toFixed(2)} s`);
    colours = await client.call("colours", undefined);
  } catch (error) {
    panel.note("failed");
    say((error as Error).message, "bad");
  } finally {
    panel.busy(false);
    redraw();
  }
}

async function removePicture(slot: Slot): Promise<void> {
  await client.call("forget", slot);
  chosen = undefined;
  const isLeft = SLOTS.some((s) => panels[s].embedded !== undefined);
  colours = isLeft ? await client.call("colours", undefined) : {};
  redraw();
}

async function choosePatch(slot: Slot, patch: number): Promise<void> {
  const maps = await client.call("similar", { slot, patch });
  chosen = { slot, patch, maps };
  setView("similar");
}

function mapOf(slot: Slot): ImageData | undefined {
  const { embedded } = panels[slot];
  if (embedded === undefined) return undefined;
  const { grid, attention } = embedded;
  const rgb = colours[slot];
  if (view === "colours") return rgb === undefined ? undefined : rgbMap(rgb, grid);
  if (view === "attention" && attention.length > 0) {
    const values = headOf(attention, grid, head);
    return heatMap(values, grid, peaksCut(values));
  }
  const own = chosen?.maps[slot];
  if (view !== "similar" || own === undefined) return undefined;
  // one scale for both pictures, so that they can be compared
  return heatMap(own.values, grid, similarRange());
}

function redraw(): void {
  const smooth = byId<HTMLInputElement>("smooth").checked;
  const opacity = Number(byId<HTMLInputElement>("opacity").value);
  for (const slot of SLOTS) {
    const panel = panels[slot];
    panel.draw(mapOf(slot), { smooth, opacity });
    const isSimilar = view === "similar" && chosen !== undefined;
    panel.mark("own", isSimilar && chosen?.slot === slot ? chosen.patch : undefined);
    panel.mark("best", isSimilar && chosen?.slot !== slot ? chosen?.maps[slot]?.best : undefined);
  }
  byId("hint").textContent = hint();
  drawLegend();
  drawHeads(byId("heads"), {
    pictures: view === "attention" ? SLOTS.flatMap((slot) => panels[slot].embedded ?? []) : [],
    chosen: head,
    smooth,
    onChoose: (next) => {
      head = next;
      redraw();
    },
  });
}

/** The ends of the scale that both pictures share. */
function similarRange(): readonly [number, number] {
  return [rangeOf(...Object.values(chosen?.maps ?? {}).map((m) => m.values))[0], 1];
}

function drawLegend(): void {
  const isShown = view === "similar" && chosen !== undefined;
  byId("legend").hidden = !isShown;
  if (!isShown) return;
  const [low, high] = similarRange();
  byId("low").textContent = low.toFixed(2);
  byId("high").textContent = high.toFixed(0);
  drawRamp(byId<HTMLCanvasElement>("ramp"));
}

function hint(): string {
  if (info === undefined) return "Load a model, then drop one picture or two.";
  if (SLOTS.every((slot) => panels[slot].embedded === undefined)) return "Drop a picture to see what the model makes of it.";
  const other = chosen === undefined ? undefined : chosen.maps[chosen.slot === "a" ? "b" : "a"];
  const texts: { readonly [K in View]: string } = {
    picture: "The picture as it is. Click a patch to see what is similar to it.",
    colours: "First three principal components of the patch tokens, over both pictures together: like colours mean like features.",
    similar:
      chosen === undefined
        ? "Click a patch in either picture."
        : `Cosine with the framed patch, bright is alike${other === undefined ? "" : `; the nearest patch of the other picture (${(other.values[other.best] ?? 0).toFixed(3)}) is ringed`}.`,
    attention:
      info.heads > 0 ? "Where the class token looks in the last block, head by head." : "A convolutional network has no attention.",
  };
  return texts[view];
}

function setView(next: View): void {
  view = next;
  for (const button of document.querySelectorAll<HTMLButtonElement>("#views button"))
    button.setAttribute("aria-pressed", String(button.dataset["view"] === view));
  redraw();
}

function chooseModel(files: readonly File[]): void {
  chosenFiles = files;
  if (chosenFiles.length === 0) return;
  byId<HTMLInputElement>("source").value = "";
  void loadModel();
}

for (const id of ["files", "folder"])
  byId<HTMLInputElement>(id).addEventListener("change", (e) => chooseModel([...((e.target as HTMLInputElement).files ?? [])]));
byId("choose-files").addEventListener("click", () => byId("files").click());
byId("choose-folder").addEventListener("click", () => byId("folder").click());
byId("model").addEventListener("submit", (event) => {
  event.preventDefault();
  if (byId<HTMLInputElement>("source").value.trim() !== "") chosenFiles = undefined;
  void loadModel();
});
for (const id of ["size", "device"]) byId(id).addEventListener("change", () => info !== undefined && void loadModel());
stop.addEventListener("click", () => loading?.abort());
for (const button of document.querySelectorAll<HTMLButtonElement>("#views button"))
  button.addEventListener("click", () => setView(button.dataset["view"] as View)); // the views of index.html
for (const id of ["smooth", "opacity"]) byId(id).addEventListener("input", redraw);
addEventListener("resize", redraw);
listenToFiles({
  onModel: chooseModel,
  onPicture: (file) => void setPicture(panels.a.file === undefined ? "a" : "b", file),
});
byId("theme").addEventListener("click", () => {
  const isDark = getComputedStyle(document.documentElement).colorScheme.startsWith("dark");
  document.documentElement.style.colorScheme = isDark ? "light" : "dark";
});

const { searchParams } = new URL(location.href);
const linked = searchParams.get("model");
if (linked !== null) {
  byId<HTMLInputElement>("source").value = linked;
  void loadModel();
}
setView("colours");
