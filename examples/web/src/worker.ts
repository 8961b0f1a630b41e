/** @file The worker: model and features live here, so that the page never stands still. */
import { bestPatch, type ImageFeatures, type LoadedModel, loadModel, pcaPictures, similarityMap } from "tricera/web";
import type { Argument, Embedded, FromWorker, Method, ModelInfo, Result, Similar, Slot, ToWorker } from "./protocol.ts";

let model: LoadedModel | undefined;
const pictures = new Map<Slot, ImageFeatures>();
const running = new Map<number, AbortController>();

function post(message: FromWorker): void {
  self.postMessage(message);
}

function opened(): LoadedModel {
  if (model === undefined) throw new Error("Cannot look at pictures: no model is loaded; choose one first");
  return model;
}

async function load({ source, device, imageSizePx }: Argument<"load">, signal: AbortSignal): Promise<ModelInfo> {
  const next = await loadModel(typeof source === "string" ? source : [...source], {
    device,
    resize: "multiple",
    decode: "managed", // upright and in sRGB, as the page shows it
    imageSizePx,
    cache: "check", // a model that was exported anew is seen
    signal,
    onProgress: (progress) => post({ kind: "progress", progress }),
  });
  await model?.dispose();
  pictures.clear();
  model = next;
  const { width, heads, patchSizePx, imageSizePx: side } = next;
  return { width, heads, patchSizePx, imageSizePx: side, device: next.device };
}

async function embed({ slot, picture }: Argument<"embed">, signal: AbortSignal): Promise<Embedded> {
  const { heads } = opened();
  const started = performance.now();
  const features = await opened().embed(picture, { attention: heads > 0, signal });
  pictures.set(slot, features);
  return { grid: features.grid, attention: features.attention ?? new Float32Array(0), ms: performance.now() - started };
}

function colours(): Partial<Record<Slot, Uint8Array>> {
  const shown = [...pictures];
  const maps = shown.map(([, { patches, grid }]) => ({ tokens: patches, grid: { rows: grid.rows, cols: grid.columns } }));
  const drawn = pcaPictures(maps, { d: opened().width, patchPx: 1 });
  return Object.fromEntries(shown.map(([slot], i) => [slot, drawn[i]?.data]));
}

function similar({ slot, patch }: Argument<"similar">): Partial<Record<Slot, Similar>> {
  const from = pictures.get(slot);
  if (from === undefined) return {};
  const found: [Slot, Similar][] = [...pictures].map(([other, to]) => {
    const values = similarityMap(from, patch, { to, width: opened().width });
    return [other, { values, best: bestPatch(values) }];
  });
  return Object.fromEntries(found);
}

const METHODS: { readonly [M in Method]: (argument: Argument<M>, signal: AbortSignal) => Result<M> | Promise<Result<M>> } = {
  load,
  embed,
  forget: (slot) => void pictures.delete(slot),
  colours,
  similar,
};

async function answer(message: Extract<ToWorker, { kind: "call" }>): Promise<void> {
  const { id, method, argument } = message;
  const stop = new AbortController();
  running.set(id, stop);
  try {
    const run = METHODS[method] as (argument: unknown, signal: AbortSignal) => unknown; // the message pairs method and argument
    post({ kind: "result", id, value: await run(argument, stop.signal) });
  } catch (error) {
    post({ kind: "error", id, message: error instanceof Error ? error.message : String(error), isAbort: stop.signal.aborted });
  } finally {
    running.delete(id);
  }
}

self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === "abort") running.get(data.id)?.abort();
  else void answer(data);
});
