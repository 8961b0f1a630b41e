/** @file What the demo adds to the run's report: how well things never seen are found, and pictures of it. */
import { readFile } from "node:fs/promises";
import { Rng } from "../../src/core/index.ts";
import { encodePng } from "../../src/images/node/index.ts";
import {
  type Block,
  type Credit,
  fromPlanes,
  percent,
  type PictureRow,
  type ReportData,
  type ReportPicture,
  type ReportSection,
} from "../../src/views/index.ts";
import type { Drawing } from "./emoji.ts";
import { type Chance, type Evaluation, KEPT, othersOf } from "./evaluation.ts";
import { type HeldOut, SIZE_PX } from "./held-out.ts";
import { creditsBlock } from "./licences.ts";

const QUERIES = 12;
/** Neighbours a representation in the grid: three groups and the query fit a page. */
const SHOWN = 4;

export interface Findings {
  readonly heldOut: HeldOut;
  readonly evaluations: readonly Evaluation[];
  readonly chance: Chance;
  readonly credits: ReadonlyMap<string, Credit>;
}

const nameOf = ({ name, vendor }: Drawing, credits: Findings["credits"]): string =>
  `${name.replaceAll("-", " ")} · ${credits.get(vendor)?.name ?? vendor}`;

async function whole(drawing: Drawing | undefined, { credits }: Findings): Promise<ReportPicture | undefined> {
  if (drawing === undefined) return undefined;
  return { mime: "image/png", bytes: await readFile(drawing.path), alt: nameOf(drawing, credits) };
}

async function crop(
  planes: Float32Array,
  index: number,
  { alt, heldOut }: { readonly alt: string; readonly heldOut: HeldOut },
): Promise<ReportPicture> {
  const { mean, std } = heldOut;
  const length = 3 * SIZE_PX ** 2;
  const image = fromPlanes(planes.subarray(index * length, (index + 1) * length), { width: SIZE_PX, height: SIZE_PX, mean, std });
  return { mime: "image/png", bytes: await encodePng(image), alt };
}

/** Drawings for the page: picked by seed among those that `accept` takes, each thing once. */
function pickQueries(
  drawings: readonly Drawing[],
  { count, accept = () => true }: { readonly count: number; readonly accept?: (index: number) => boolean },
): readonly number[] {
  const seen = new Set<string>();
  const order = new Rng(3).split("queries").permutation(drawings.length);
  return Array.from(order)
    .filter((i) => {
      const identity = drawings[i]?.identity ?? "";
      if (seen.has(identity) || !accept(i)) return false;
      seen.add(identity);
      return true;
    })
    .slice(0, count);
}

/** Says so where raw pixels find more than the network: the page shows what is, not what one hopes for. */
function pixelsNote(evaluations: readonly Evaluation[]): string {
  const pixels = evaluations.find((e) => e.name === "raw pixels");
  const after = evaluations.at(-1);
  if (pixels === undefined || after === undefined) return "";
  const ahead = [
    ...(pixels.otherCrop > after.otherCrop ? ["for crops"] : []),
    ...(pixels.otherVendor > after.otherVendor ? ["for other vendors, whose drawings often have the same outline in the same place"] : []),
  ];
  return ahead.length === 0
    ? ""
    : `Raw pixels are still ahead ${ahead.join(" and ")}: a few minutes are a beginning. TRICERA_DEMO_MINUTES=30 npm run demo trains longer.`;
}

function recallSection({ heldOut, evaluations, chance }: Findings): ReportSection {
  const bars: Block = {
    kind: "bars",
    columns: ["same drawing, another crop", "same thing, another vendor"],
    rows: [
      { label: "a blind guess", values: [chance.otherCrop, chance.otherVendor] },
      ...evaluations.map(({ name, otherCrop, otherVendor }, i) => ({
        label: name,
        values: [otherCrop, otherVendor],
        strong: i === evaluations.length - 1,
      })),
    ],
  };
  const text = `Found at first try among ${heldOut.drawings.length.toLocaleString("en-US")} drawings of things that no training picture shows, by nearest neighbour. The untrained network is the run's own start. Left: a crop of a drawing, with other colours and perhaps mirrored, must find another crop of the same drawing. Right: a whole drawing must find the same thing among the drawings of the other four vendors.`;
  const note = pixelsNote(evaluations);
  return { title: "Things never seen", text, blocks: note === "" ? [bars] : [bars, { kind: "text", text: note }] };
}

async function cropSection(findings: Findings): Promise<ReportSection> {
  const { heldOut, evaluations, credits } = findings;
  const { drawings } = heldOut;
  const row = async (i: number): Promise<PictureRow> => {
    const own = drawings[i];
    const name = own === undefined ? "" : nameOf(own, credits);
    const found = evaluations.map(async ({ foundCrop }): Promise<ReportPicture> => {
      const at = foundCrop[i] ?? 0;
      const there = drawings[at];
      const picture = await crop(heldOut.first, at, { alt: there === undefined ? "" : nameOf(there, credits), heldOut });
      return { ...picture, mark: at === i ? "right" : "wrong" };
    });
    const target = await crop(heldOut.first, i, { alt: `${name}, first crop`, heldOut });
    return {
      label: name,
      cells: [await crop(heldOut.second, i, { alt: `${name}, second crop`, heldOut }), target, ...(await Promise.all(found))],
    };
  };
  const table = async (queries: readonly number[]): Promise<Block> => ({
    kind: "pictures",
    columns: ["asked", "to find", ...evaluations.map((e) => e.name)],
    rows: await Promise.all(queries.map(row)),
    sizePx: 72,
  });
  const half = QUERIES / 2;
  const isFound = (i: number): boolean => evaluations.some((e) => e.foundCrop[i] === i);
  return {
    title: "The same drawing again",
    text: "One row a drawing: the crop that asks, the crop it should find, and what each representation takes for it. Picked by lot among all drawings:",
    blocks: [
      await table(pickQueries(drawings, { count: half })),
      { kind: "text", text: "Picked by lot among those that at least one of the four finds:" },
      await table(pickQueries(drawings, { count: half, accept: isFound })),
      creditsBlock(credits),
    ],
  };
}

async function neighbourSection(findings: Findings): Promise<ReportSection> {
  const { heldOut, evaluations, credits } = findings;
  const { drawings } = heldOut;
  const shown = evaluations.filter((e) => e.name !== "colour histogram");
  const others = othersOf(heldOut);
  const queries = pickQueries(drawings, { count: QUERIES, accept: (i) => (others[i] ?? 0) >= 2 });
  const row = async (i: number): Promise<PictureRow> => {
    const own = drawings[i];
    const found = shown.flatMap(({ neighbours }) =>
      Array.from({ length: SHOWN }, async (_, n): Promise<ReportPicture | undefined> => {
        const there = drawings[neighbours[i * KEPT + n] ?? -1];
        const picture = await whole(there, findings);
        return picture === undefined ? undefined : { ...picture, mark: there?.identity === own?.identity ? "right" : "wrong" };
      }),
    );
    return { label: own === undefined ? "" : nameOf(own, credits), cells: [await whole(own, findings), ...(await Promise.all(found))] };
  };
  return {
    title: "The same thing by others",
    text: "The nearest drawings by other vendors, nearest first; ✓ the same thing. Picked by lot among things that at least two other vendors drew.",
    blocks: [
      {
        kind: "pictures",
        groups: [{ title: "asked", span: 1 }, ...shown.map(({ name }) => ({ title: name, span: SHOWN }))],
        columns: Array.from({ length: 1 + shown.length * SHOWN }, () => ""),
        rows: await Promise.all(queries.map(row)),
        sizePx: 56,
      },
      creditsBlock(credits),
    ],
  };
}

/** A run's section with the licences below its pictures. */
function withCredits(section: ReportSection, credits: Findings["credits"]): ReportSection {
  const hasPictures = section.blocks.some((b) => b.kind === "pictures");
  return hasPictures ? { ...section, blocks: [...section.blocks, creditsBlock(credits)] } : section;
}

/** The demo's page: its own sections on top of the run's report. */
export async function demoReport(run: ReportData, findings: Findings): Promise<ReportData> {
  const before = findings.evaluations.at(-2);
  const after = findings.evaluations.at(-1);
  const own = [recallSection(findings), await cropSection(findings), await neighbourSection(findings)];
  return {
    ...run,
    title: `Tricera's demo: ${run.title}`,
    verdict:
      after === undefined || before === undefined
        ? run.verdict
        : `Shown emoji without a word about them, the network finds a drawing it never saw from another crop in ${percent(after.otherCrop)} of all cases (untrained: ${percent(before.otherCrop)}), and the same thing drawn by another vendor in ${percent(after.otherVendor)} (untrained: ${percent(before.otherVendor)}).`,
    sections: [...own, ...run.sections.map((s) => withCredits(s, findings.credits))],
  };
}
