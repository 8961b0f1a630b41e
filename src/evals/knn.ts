/** @file DINO's weighted k-NN classifier: neighbours vote with exp(similarity / T). DINO §F.1; eval_knn. */
import { ConfigError } from "../core/index.ts";
import type { Nearest } from "../features/index.ts";

export interface VoteOptions {
  readonly neighbours: Nearest;
  /** Class of every bank row and of every query. */
  readonly bankLabels: Int32Array;
  readonly queryLabels: Int32Array;
  readonly classes: number;
  readonly ks: readonly number[];
  readonly temperature: number;
}

/** Shares of right answers among one and among five guesses, 0 to 1. */
export interface KnnScore {
  readonly k: number;
  readonly top1: number;
  readonly top5: number;
}

/**
 * Top-1 and top-5 for every k; a k above the bank's size counts the whole bank. Classes rank by their votes, equal votes by their number; a
 * right answer among the first min(5, k) counts for top-5 (eval_knn). Weights are exp((s - s_best) / T): the same order, without overflow.
 */
export function weightedVote({ neighbours, bankLabels, queryLabels, classes, ks, temperature }: VoteOptions): readonly KnnScore[] {
  if (!(temperature > 0))
    throw new ConfigError(`Cannot vote: the temperature is ${temperature}; give a number above 0`, { keyPath: "temperature" });
  const { k: stored, indices, scores } = neighbours;
  const votes = new Float64Array(classes);
  return ks.map((k) => {
    const use = Math.min(k, stored);
    let [top1, top5] = [0, 0];
    for (const [q, label] of queryLabels.entries()) {
      votes.fill(0);
      const best = scores[q * stored] ?? 0;
      for (let j = q * stored; j < q * stored + use; j++) {
        const c = bankLabels[indices[j]!]!; // j < indices.length; indices are rows of the bank
        votes[c] = votes[c]! + Math.exp((scores[j]! - best) / temperature); // labels are below classes
      }
      const own = votes[label] ?? 0;
      let before = 0;
      for (let c = 0; c < classes; c++) if (votes[c]! > own || (votes[c]! === own && c < label)) before++; // c < classes
      if (before < 1) top1++;
      if (before < Math.min(5, k)) top5++;
    }
    const n = Math.max(1, queryLabels.length);
    return { k, top1: top1 / n, top5: top5 / n };
  });
}
