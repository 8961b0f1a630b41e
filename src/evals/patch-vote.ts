/** @file What neighbours vote for, and how well that agrees with the truth: accuracy and intersection over union. */
import { ConfigError } from "../core/index.ts";
import type { Nearest } from "../features/index.ts";

export interface PredictOptions {
  readonly neighbours: Nearest;
  /** Class of every bank row, below `classes`. */
  readonly bankLabels: Int32Array;
  readonly classes: number;
  readonly temperature: number;
}

/** The class with the most votes for every query, by exp(similarity / T); of equal votes the lower one, as `weightedVote()` ranks them. */
export function predictByVote({ neighbours, bankLabels, classes, temperature }: PredictOptions): Int32Array {
  if (!(temperature > 0))
    throw new ConfigError(`Cannot vote: the temperature is ${temperature}; give a number above 0`, { keyPath: "temperature" });
  const { k, indices, scores } = neighbours;
  const votes = new Float64Array(classes);
  const predicted = new Int32Array(indices.length / k);
  for (let q = 0; q < predicted.length; q++) {
    votes.fill(0);
    const best = scores[q * k] ?? 0;
    for (let j = q * k; j < (q + 1) * k; j++) {
      const c = bankLabels[indices[j]!]!; // j < indices.length; indices are rows of the bank
      votes[c] = votes[c]! + Math.exp((scores[j]! - best) / temperature); // labels are below classes
    }
    let winner = 0;
    for (let c = 1; c < classes; c++) if (votes[c]! > votes[winner]!) winner = c; // both below classes
    predicted[q] = winner;
  }
  return predicted;
}

/** How one class was recognised. */
export interface ClassScore {
  /** Intersection over union: right / (right + missed + wrongly called so). */
  readonly iou: number;
  /** Share of its patches that were recognised; 0 where it has none. */
  readonly accuracy: number;
  /** How many patches are truly of it. */
  readonly patches: number;
}

/** Counts answers by truth and prediction. */
export class Confusion {
  readonly #classes: number;
  /** `[truth, prediction]`. */
  readonly #counts: Float64Array;

  constructor(classes: number) {
    this.#classes = classes;
    this.#counts = new Float64Array(classes * classes);
  }

  add(truth: Int32Array, predicted: Int32Array): void {
    for (const [i, t] of truth.entries()) {
      const at = t * this.#classes + predicted[i]!; // as long as truth
      this.#counts[at] = this.#counts[at]! + 1; // classes are below #classes
    }
  }

  #sum(indexOf: (i: number) => number): number {
    let sum = 0;
    for (let i = 0; i < this.#classes; i++) sum += this.#counts[indexOf(i)] ?? 0;
    return sum;
  }

  get total(): number {
    return this.#counts.reduce((a, b) => a + b, 0);
  }

  /** Share of right answers. */
  get accuracy(): number {
    return this.#sum((i) => i * this.#classes + i) / Math.max(1, this.total);
  }

  /** Undefined for a class that is neither there nor answered: it counts for nothing. */
  scoreOf(c: number): ClassScore | undefined {
    const right = this.#counts[c * this.#classes + c] ?? 0;
    const patches = this.#sum((i) => c * this.#classes + i);
    const union = patches + this.#sum((i) => i * this.#classes + c) - right;
    return union === 0 ? undefined : { iou: right / union, accuracy: right / Math.max(1, patches), patches };
  }
}
