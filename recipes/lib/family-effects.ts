/** @file What the papers report of each member of the family, against what the runs of the recipe show. */
import type { FamilyName, FamilyScore } from "./family.ts";
import { summary } from "./summary.ts";

interface Effect {
  readonly claim: string;
  readonly of: FamilyName;
  readonly over: FamilyName;
  readonly by: "knn" | "patch";
}

const EFFECTS: readonly Effect[] = [
  { claim: "DINO learns features of pictures", of: "dino", over: "untrained", by: "knn" },
  { claim: "iBOT's masked patches better dense features", of: "ibot", over: "dino", by: "patch" },
  { claim: "DINOv2 (Sinkhorn–Knopp, KoLeo, two heads) is better than DINO + iBOT", of: "dinov2", over: "ibot", by: "knn" },
  { claim: "DINOv2 betters dense features", of: "dinov2", over: "untrained", by: "patch" },
  { claim: "DINOv3's network learns features of pictures", of: "dinov3", over: "untrained-rope", by: "knn" },
  { claim: "DINOv3's network learns dense features", of: "dinov3", over: "untrained-rope", by: "patch" },
  { claim: "DINOv3 is better than DINOv2", of: "dinov3", over: "dinov2", by: "knn" },
  { claim: "Gram anchoring betters dense features", of: "gram", over: "dinov3", by: "patch" },
  { claim: "High resolution betters dense features", of: "highres", over: "gram", by: "patch" },
];

/** Whether an effect is there in every seed, in none, or in some. */
function verdict(differences: readonly number[]): string {
  if (differences.length === 0) return "not run";
  const up = differences.filter((d) => d > 0).length;
  if (up === differences.length) return "shows";
  return up === 0 ? "**the contrary shows**" : "does not show";
}

/** The table as lines of Markdown: seeds that both members have, paired. */
export function effectsTable(scores: readonly FamilyScore[]): readonly string[] {
  const rows = EFFECTS.map(({ claim, of, over, by }) => {
    const differences = scores.flatMap((score) => {
      const other = scores.find((s) => s.name === over && s.seed === score.seed);
      return score.name !== of || other === undefined ? [] : [score[by] - other[by]];
    });
    return `| ${claim} | ${of} − ${over}, ${by === "knn" ? "pictures" : "patches"} | ${summary(differences)} | ${verdict(differences)} |`;
  });
  return ["| the papers | here | difference | |", "| --- | --- | --- | --- |", ...rows];
}
