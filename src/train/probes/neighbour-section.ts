/** @file The neighbour grid of a run's report: what lies next to a few images before training and after. */
import type { DataList } from "../../data/index.ts";
import { nearestNeighbours } from "../../features/index.ts";
import { percent, type PictureRow, type ReportPicture, type ReportSection } from "../../views/index.ts";
import type { TrainConfig } from "../config/index.ts";
import { readSample, readSight, type SampleFeatures } from "./neighbour-sample.ts";
import { watchedName } from "./report-words.ts";
import { spreadOver } from "./snapshots.ts";
import { shortName, thumbnail } from "./thumbnails.ts";

const QUERIES = 8;
const NEIGHBOURS = 6;

/** The nearest other images of every image of the sample, `[n, k]`, -1 where there are not so many. */
interface Nearby {
  readonly step: number;
  readonly k: number;
  readonly indices: Int32Array;
  readonly scores: Float32Array;
}

/** Neighbours of every row among the other rows. Features are of unit length. */
export async function nearestOthers({ features, dim, step }: SampleFeatures, threads: number): Promise<Nearby> {
  const n = features.length / dim;
  const k = Math.min(NEIGHBOURS, n - 1);
  const found = await nearestNeighbours(features, features, { dim, k: k + 1, threads });
  const [indices, scores] = [new Int32Array(n * k).fill(-1), new Float32Array(n * k)];
  for (let i = 0; i < n; i++) {
    const from = i * found.k;
    let at = 0;
    for (let j = from; j < from + found.k && at < k; j++) {
      if (found.indices[j] === i) continue;
      indices[i * k + at] = found.indices[j] ?? -1;
      scores[i * k + at++] = found.scores[j] ?? 0;
    }
  }
  return { step, k, indices, scores };
}

const labelOf = (sample: DataList, index: number): string | undefined => sample.entries[index]?.label;

/** Share of all neighbours of all images that have their image's label. */
function sameLabel(sample: DataList, { k, indices }: Nearby): number {
  let right = 0;
  indices.forEach((j, at) => {
    if (labelOf(sample, j) === labelOf(sample, Math.floor(at / k))) right++;
  });
  return right / Math.max(1, indices.length);
}

interface Grid {
  readonly sample: DataList;
  readonly config: TrainConfig;
  readonly labelled: boolean;
}

async function cellsOf({ sample, config, labelled }: Grid, query: number, { k, indices, scores }: Nearby): Promise<ReportPicture[]> {
  return Promise.all(
    Array.from({ length: k }, async (_, i) => {
      const [at, score] = [indices[query * k + i] ?? 0, scores[query * k + i] ?? 0];
      const picture = await thumbnail(sample, at, { data: config.data, channels: config.model.channels, sidePx: 96, shape: "fit" });
      const hint = `${picture.hint ?? picture.alt} · similarity ${score.toFixed(3)}`;
      if (!labelled) return { ...picture, hint };
      return { ...picture, hint, mark: labelOf(sample, at) === labelOf(sample, query) ? "right" : "wrong" };
    }),
  );
}

async function rowOf(grid: Grid, query: number, times: readonly Nearby[]): Promise<PictureRow> {
  const { sample, config, labelled } = grid;
  const own = await thumbnail(sample, query, { data: config.data, channels: config.model.channels, sidePx: 96, shape: "fit" });
  const found = await Promise.all(times.map((t) => cellsOf(grid, query, t)));
  const entry = sample.entries[query];
  const name = labelled ? entry?.label : entry === undefined ? undefined : shortName(entry);
  return { ...(name === undefined ? {} : { label: name }), cells: [own, ...found.flat()] };
}

const timeName = ({ step }: Nearby): string => (step === 0 ? "before training" : `after step ${step.toLocaleString("en-US")}`);

function textOf({ sample, config, labelled }: Grid, times: readonly Nearby[]): string {
  const what = `The nearest of ${sample.entries.length.toLocaleString("en-US")} images by the class token of ${watchedName(config)}, for fixed images spread over the list; nearest first. Point at a picture for its path and similarity.`;
  if (!labelled) return what;
  const shares = times.map((t) => `${percent(sameLabel(sample, t))} ${timeName(t)}`);
  return `${what} ✓ green: the same label; ✗ red: another one. Neighbours with the same label, over all these images: ${shares.join(", ")}.`;
}

/** The grid from what the run stored; undefined where there is nothing or too little to compare. */
export async function neighbourSection(
  runDir: string,
  { config, lastStep }: { readonly config: TrainConfig; readonly lastStep: number },
): Promise<ReportSection | undefined> {
  const sample = await readSample(runDir);
  const [first, last] = [await readSight(runDir, "first"), await readSight(runDir, "last")];
  if (sample === undefined || first === undefined || sample.entries.length < 2) return undefined;
  const rows = sample.entries.length;
  const sights = [first, last].filter(
    (s): s is SampleFeatures => s !== undefined && s.step <= lastStep && s.features.length === rows * s.dim,
  );
  const distinct = sights.filter((s, i) => i === 0 || s.step > (sights[0]?.step ?? 0));
  if (distinct.length === 0) return undefined;
  const times: Nearby[] = [];
  for (const sight of distinct) times.push(await nearestOthers(sight, config.train.threads));
  const grid: Grid = { sample, config, labelled: sample.classes.length > 1 };
  const k = times[0]?.k ?? 0;
  return {
    title: "Neighbours",
    text: textOf(grid, times),
    blocks: [
      {
        kind: "pictures",
        groups: [{ title: "image", span: 1 }, ...times.map((t) => ({ title: timeName(t), span: k }))],
        columns: Array.from({ length: 1 + times.length * k }, () => ""),
        rows: await Promise.all(spreadOver(rows, QUERIES).map((q) => rowOf(grid, q, times))),
        sizePx: 60,
      },
    ],
  };
}
