/** @file The members of the family recipe: what each is told, and the table of what they reached. */
import type { UserConfig } from "../../src/train/index.ts";
import { effectsTable } from "./family-effects.ts";
import { summary } from "./summary.ts";

export type FamilyName = "untrained" | "untrained-rope" | "dino" | "ibot" | "dinov2" | "dinov3" | "gram" | "highres";

export interface FamilyMember {
  readonly name: FamilyName;
  readonly title: string;
  /** Steps that 15 minutes take on two quiet cores (AMD EPYC, 25 November 2026): the same on any machine, so that runs compare. */
  readonly steps: number;
  /** The member whose run it goes on from. */
  readonly after?: FamilyName;
}

/** In the order of the papers; before them random weights of DINO's and of DINOv3's network, moved by one step at the start of the warm-up. */
export const FAMILY: readonly FamilyMember[] = [
  { name: "untrained", title: "untrained", steps: 1 },
  { name: "untrained-rope", title: "untrained, rotary positions", steps: 1 },
  { name: "dino", title: "DINO", steps: 2400 },
  { name: "ibot", title: "+ iBOT", steps: 2150 },
  { name: "dinov2", title: "DINOv2", steps: 2000 },
  { name: "dinov3", title: "DINOv3", steps: 1750 },
  { name: "gram", title: "+ Gram anchoring", steps: 1000, after: "dinov3" },
  { name: "highres", title: "+ high resolution", steps: 400, after: "gram" },
];

export function isFamilyName(name: string): name is FamilyName {
  return FAMILY.some((member) => member.name === name);
}

export interface FamilyOptions {
  readonly images: string;
  readonly minutes: number;
  readonly seed: number;
  readonly parent: string | undefined;
  readonly threads: number | undefined;
}

/** One size and one amount of work for all: what differs is what the methods differ in. */
const SIZES = { width: 128, depth: 4, heads: 4, patchSizePx: 8, imageSizePx: 64 } as const;
const CROPS = { globalSizePx: 64, localSizePx: 32, localCount: 4 } as const;

/** What a member is told; everything else is chosen for its method. */
export function familyConfig(name: FamilyName, { images, minutes, seed, parent, threads }: FamilyOptions): UserConfig {
  const { steps } = FAMILY.find((member) => member.name === name) ?? { steps: 0 };
  const train = { steps: Math.max(1, Math.round((steps * minutes) / 15)), batchSize: 64, ...(threads === undefined ? {} : { threads }) };
  const common = { seed, train, log: { imagesEverySteps: 0 } };
  const fresh = { ...common, data: { path: images }, crops: CROPS };
  const model = { arch: "vit", ...SIZES };
  switch (name) {
    case "untrained":
    case "dino":
      return { ...fresh, method: "dino", model };
    case "ibot":
      return { ...fresh, method: "dinov2", model, objective: { koleoWeight: 0 }, head: { ibotSeparate: false } };
    case "dinov2":
      return { ...fresh, method: "dinov2", model };
    case "untrained-rope":
    case "dinov3":
      return { ...fresh, method: "dinov3", model };
    case "gram":
    case "highres":
      return { ...common, method: "dinov3", stage: name, init: { from: parent ?? null } };
  }
}

/** What one run reached: k-NN top-1 of clothing, of CamVid's patches, and their mean IoU, 0 to 1. */
export interface FamilyScore {
  readonly name: FamilyName;
  readonly seed: number;
  readonly steps: number;
  readonly minutes: number;
  readonly knn: number;
  readonly patch: number;
  readonly miou: number;
}

/** The table as Markdown. */
export function familyTable(
  scores: readonly FamilyScore[],
  { command, minutes, pixels }: { readonly command: string; readonly minutes: number; readonly pixels: number },
): string {
  const rows = FAMILY.map(({ name, title }) => {
    const own = scores.filter((s) => s.name === name);
    const cells = [(s: FamilyScore) => s.knn, (s: FamilyScore) => s.patch, (s: FamilyScore) => s.miou].map((pick) =>
      summary(own.map(pick)),
    );
    const steps = own.map((s) => s.steps.toLocaleString("en-US")).join(", ");
    return `| ${title} | ${own.length} | ${steps} | ${cells.join(" | ")} |`;
  });
  return [
    "# The family on one set of pictures",
    "",
    `Each run trains as many steps as ${minutes} minutes on two cores take, on 3,068 photos of clothes and 1,000 of ImageNet's classes, without labels, at ${CROPS.globalSizePx} px: a ViT of ${SIZES.depth} blocks, width ${SIZES.width}, patch ${SIZES.patchSizePx} px. A later stage goes on from the run above it. k-NN top-1 in per cent, k = 20, mean over seeds and their range: clothing's 713 photos of its validation and test parts, CamVid's patches by 192 px pictures.`,
    "",
    "| method | seeds | steps | clothing k-NN | CamVid patch k-NN | patch mIoU |",
    "| --- | --- | --- | --- | --- | --- |",
    `| raw pixels | | | ${(100 * pixels).toFixed(1)} | | |`,
    ...rows,
    "",
    "Differences in per cent, seed by seed: mean and range. An effect shows where it is above 0 in every seed.",
    "",
    ...effectsTable(scores),
    "",
    "```sh",
    command,
    "```",
    "",
  ].join("\n");
}
