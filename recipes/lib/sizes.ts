/** @file The recipes by the number of pictures: which pictures, which network, and the table of what they reached. */

export type SizeName = "1k" | "10k" | "50k";

interface Size {
  readonly title: string;
  readonly set: "clothing" | "cifar";
  readonly arch: string;
  readonly imageSizePx: number;
  /** Pictures of each class that are learned from, and that vote. */
  readonly perClass: number;
  readonly bankPerClass: number;
}

export const SIZES: { readonly [K in SizeName]: Size } = {
  "1k": {
    title: "1,000 photos of clothes, 96 px",
    set: "clothing",
    arch: "vit_tiny_patch16",
    imageSizePx: 96,
    perClass: 100,
    bankPerClass: 1e6,
  },
  "10k": { title: "10,000 of CIFAR-10, 32 px", set: "cifar", arch: "vit_tiny_patch8", imageSizePx: 32, perClass: 1000, bankPerClass: 1000 },
  "50k": { title: "50,000 of CIFAR-10, 32 px", set: "cifar", arch: "vit_tiny_patch8", imageSizePx: 32, perClass: 5000, bankPerClass: 1000 },
};

/** What one run reached: k-NN top-1, 0 to 1. */
export interface SizeScore {
  readonly name: SizeName;
  readonly method: "dino" | "dinov2";
  readonly steps: number;
  readonly minutes: number;
  readonly pixels: number;
  readonly untrained: number;
  readonly last: number;
  readonly best: number;
}

/** The table as Markdown. */
export function sizesTable(scores: readonly SizeScore[], minutes: number): string {
  const percent = (x: number): string => `${(100 * x).toFixed(1)}`;
  const rows = scores.map(
    (s) =>
      `| ${SIZES[s.name].title} | \`${SIZES[s.name].arch}\` | ${s.method} | ${s.steps.toLocaleString("en-US")} | ${s.minutes.toFixed(1)} | ${percent(s.pixels)} | ${percent(s.untrained)} | ${percent(s.last)} | ${percent(s.best)} |`,
  );
  return [
    "# Recipes by the number of pictures",
    "",
    `\`--minutes ${minutes}\` on two cores; network and picture size are said, everything else is what \`--print-config\` shows. k-NN top-1 in per cent, k = 20, of held-out pictures.`,
    "",
    "| pictures | network | method | steps | minutes | raw pixels | untrained | trained | at best |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
    "```sh",
    `node recipes/sizes.ts --clothing DIR --cifar DIR --minutes ${minutes}`,
    "```",
    "",
  ].join("\n");
}
