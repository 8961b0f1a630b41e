/** @file The pictures of a run's report: patch features as colours, and attention, at several moments. */
import type { DataList } from "../../data/index.ts";
import { encodeJpeg, encodePng } from "../../images/node/index.ts";
import { attentionPictures, pcaPicturesOverEpochs, type ReportPicture, type ReportSection, type RgbImage } from "../../views/index.ts";
import type { TrainConfig } from "../config/index.ts";
import { gridOf } from "../loop/networks.ts";
import { watchedName } from "./report-words.ts";
import { chooseMoments, readSnapshot, shownImages, type Snapshot, snapshotSteps } from "./snapshots.ts";
import { loadThumbnail, shortName, thumbnail } from "./thumbnails.ts";

const MOMENTS = 6;
/** Heads that are drawn; more would not be looked at one by one. */
const MAX_HEADS = 12;
const OVERLAY_PX = 128;
const OPACITY = 0.62;

interface Shots {
  readonly shown: DataList;
  readonly config: TrainConfig;
  readonly shots: readonly Snapshot[];
  readonly grid: { readonly rows: number; readonly cols: number };
}

const momentName = ({ step }: Snapshot): string => (step === 0 ? "before training" : `step ${step.toLocaleString("en-US")}`);

function part(data: Float32Array, index: number, length: number): Float32Array {
  const out = new Float32Array(length);
  out.set(data.subarray(index * length, (index + 1) * length));
  return out;
}

function nameOf({ shown }: Shots, image: number): string {
  const entry = shown.entries[image];
  return entry === undefined ? "image" : shortName(entry);
}

function inputs({ shown, config }: Shots): Promise<ReportPicture[]> {
  return Promise.all(
    shown.entries.map((_, i) => thumbnail(shown, i, { data: config.data, channels: config.model.channels, sidePx: 192, shape: "square" })),
  );
}

async function pcaSection(all: Shots, images: readonly ReportPicture[]): Promise<ReportSection> {
  const { shots, grid, config } = all;
  const d = config.model.width;
  const size = grid.rows * grid.cols * d;
  const pictures = pcaPicturesOverEpochs(
    shots.map(({ tokens }) => images.map((_, i) => ({ tokens: part(tokens, i, size), grid }))),
    { d, patchPx: 1 },
  );
  const cell = async (moment: number, image: number): Promise<ReportPicture | undefined> => {
    const [picture, shot] = [pictures[moment]?.[image], shots[moment]];
    if (picture === undefined || shot === undefined) return undefined;
    return { mime: "image/png", bytes: await encodePng(picture), alt: `patch features of ${nameOf(all, image)}, ${momentName(shot)}` };
  };
  const rows = images.map(async (input, i) => ({ cells: [input, ...(await Promise.all(shots.map((_, t) => cell(t, i))))] }));
  return {
    title: "Features appear",
    text: `Patch features of ${watchedName(config)}, their three main directions as colours. Patches of one colour look alike to the network; parts of things should come apart from their surroundings. Colours are comparable within a column, and turned to change as little as possible from column to column.`,
    blocks: [{ kind: "pictures", columns: ["image", ...shots.map(momentName)], rows: await Promise.all(rows), pixelated: true }],
  };
}

interface Looked {
  readonly all: Shots;
  readonly under: readonly RgbImage[];
}

async function overlay(picture: RgbImage, alt: string): Promise<ReportPicture> {
  return { mime: "image/jpeg", bytes: await encodeJpeg(picture, { quality: 82 }), alt };
}

function attentionOf({ all, under }: Looked, shot: Snapshot, image: number): ReturnType<typeof attentionPictures> {
  const { grid, config } = all;
  const { heads } = config.model;
  const below = under[image];
  return attentionPictures(part(shot.attention, image, heads * grid.rows * grid.cols), {
    heads,
    grid,
    widthPx: OVERLAY_PX,
    heightPx: OVERLAY_PX,
    opacity: OPACITY,
    ...(below === undefined ? {} : { image: below }),
  });
}

async function attentionSection(all: Shots, images: readonly ReportPicture[]): Promise<ReportSection> {
  const { shown, config, shots } = all;
  const under = await Promise.all(
    shown.entries.map((_, i) =>
      loadThumbnail(shown, i, { data: config.data, channels: config.model.channels, sidePx: OVERLAY_PX, shape: "square" }),
    ),
  );
  const looked = { all, under };
  const means = images.map(async (input, i) => ({
    cells: [
      input,
      ...(await Promise.all(
        shots.map((shot) => overlay(attentionOf(looked, shot, i).mean, `attention on ${nameOf(all, i)}, ${momentName(shot)}`)),
      )),
    ],
  }));
  const last = shots.at(-1);
  const heads = images.map(async (input, i) => {
    const drawn = last === undefined ? [] : attentionOf(looked, last, i).heads.slice(0, MAX_HEADS);
    return { cells: [input, ...(await Promise.all(drawn.map((h, n) => overlay(h, `attention of head ${n + 1} on ${nameOf(all, i)}`))))] };
  });
  const count = Math.min(MAX_HEADS, config.model.heads);
  return {
    title: "Attention",
    text: "Where the class token looks in the last block, mean over heads: yellow is most, each map on its own scale.",
    blocks: [
      { kind: "pictures", columns: ["image", ...shots.map(momentName)], rows: await Promise.all(means) },
      {
        kind: "details",
        summary: `Each head at the end (${last === undefined ? "" : momentName(last)})`,
        blocks: [
          {
            kind: "pictures",
            columns: ["image", ...Array.from({ length: count }, (_, h) => `head ${h + 1}`)],
            rows: await Promise.all(heads),
            sizePx: count > 7 ? 72 : 112,
          },
        ],
      },
    ],
  };
}

/** PCA and, of a ViT, attention of the stored moments up to `lastStep`; empty where nothing was stored. */
export async function pictureSections(
  runDir: string,
  { list, config, lastStep }: { readonly list: DataList; readonly config: TrainConfig; readonly lastStep: number },
): Promise<readonly ReportSection[]> {
  const steps = chooseMoments(await snapshotSteps(runDir, lastStep), MOMENTS);
  const shots = (await Promise.all(steps.map((step) => readSnapshot(runDir, step)))).flatMap((s) => s ?? []);
  if (shots.length === 0) return [];
  const side = gridOf(config);
  const all: Shots = { shown: shownImages(list), config, shots, grid: { rows: side, cols: side } };
  const images = await inputs(all);
  return [await pcaSection(all, images), ...(config.model.family === "vit" ? [await attentionSection(all, images)] : [])];
}
