/** @file Collapse monitors: what the outputs and features of a batch tell about a run. `alarms.ts` says it in words. */
import { jacobiEigen } from "../core/index.ts";

/** Rows of numbers, row-major: `data[row * width + column]`. */
export interface Rows {
  readonly data: ArrayLike<number>;
  readonly rows: number;
  readonly width: number;
}

const row = ({ data, width }: Rows, i: number): number[] => Array.from({ length: width }, (_, j) => data[i * width + j] ?? NaN);

/** Shannon entropy −Σ p ln p of one distribution; 0 ln 0 = 0. */
export function entropy(p: ArrayLike<number>): number {
  let h = 0;
  for (let i = 0; i < p.length; i++) {
    const x = p[i] ?? 0;
    if (x !== 0) h -= x * Math.log(x);
  }
  return h;
}

/** Mean entropy of the teacher's distributions: ln K = it says nothing (uniform collapse), 0 = it is certain of one prototype. */
export function meanEntropy(probabilities: Rows): number {
  let sum = 0;
  for (let i = 0; i < probabilities.rows; i++) sum += entropy(row(probabilities, i));
  return sum / probabilities.rows;
}

/** The distribution over prototypes of a whole batch: the mean of its rows. */
export function meanDistribution(probabilities: Rows): Float64Array {
  const { data, rows, width } = probabilities;
  const mean = new Float64Array(width);
  for (let i = 0; i < rows; i++) for (let j = 0; j < width; j++) mean[j] = mean[j]! + (data[i * width + j] ?? NaN) / rows; // j < width
  return mean;
}

/** Entropy of the batch's mean distribution: 0 = every image goes to one prototype (one-prototype collapse). */
export function marginalEntropy(probabilities: Rows): number {
  return entropy(meanDistribution(probabilities));
}

/** Mean KL(teacher || student) = cross-entropy − teacher entropy: what is left to learn, without the teacher's own softness. */
export function klFromLoss(crossEntropy: number, teacherEntropy: number): number {
  return crossEntropy - teacherEntropy;
}

/** Share of prototypes that are some row's most probable one, of those that could be: min(K, rows). */
export function prototypeUsage(probabilities: Rows): number {
  const used = new Set<number>();
  for (let i = 0; i < probabilities.rows; i++) {
    const values = row(probabilities, i);
    let best = 0;
    for (let j = 1; j < values.length; j++) if (values[j]! > values[best]!) best = j; // both below values.length
    used.add(best);
  }
  return used.size / Math.min(probabilities.width, probabilities.rows);
}

/**
 * Mean over features of their standard deviation across rows, after each row is scaled to length 1 and multiplied by √width:
 * 1 for features spread evenly, 0 when all rows are alike (SimSiam §4.1).
 */
export function featureStd(features: Rows): number {
  const { rows, width } = features;
  const unit = normalizedRows(features);
  let sum = 0;
  for (let j = 0; j < width; j++) {
    let mean = 0;
    let square = 0;
    for (let i = 0; i < rows; i++) {
      const x = unit[i * width + j]!; // i < rows, j < width
      mean += x / rows;
      square += (x * x) / rows;
    }
    sum += Math.sqrt(Math.max(0, square - mean * mean));
  }
  return (sum / width) * Math.sqrt(width);
}

function normalizedRows({ data, rows, width }: Rows): Float64Array {
  const out = new Float64Array(rows * width);
  for (let i = 0; i < rows; i++) {
    let norm = 0;
    for (let j = 0; j < width; j++) norm += (data[i * width + j] ?? NaN) ** 2;
    const scale = 1 / Math.max(Math.sqrt(norm), 1e-12);
    for (let j = 0; j < width; j++) out[i * width + j] = (data[i * width + j] ?? NaN) * scale;
  }
  return out;
}

/**
 * RankMe (Garrido et al. 2023, eq. 1): exp of the entropy of the singular values scaled to sum 1. From 1 (all features on a line)
 * to min(rows, width). NaN when a feature is not a number.
 */
export function effectiveRank(features: Rows): number {
  const gram = smallerGram(features);
  const { values } = jacobiEigen(gram, Math.sqrt(gram.length));
  const singular = [...values].map((l) => Math.sqrt(Math.max(0, l)));
  const total = singular.reduce((a, b) => a + b, 0);
  if (Number.isNaN(total)) return NaN;
  return total === 0 ? 0 : Math.exp(entropy(singular.map((s) => s / total)));
}

/** FᵀF or FFᵀ, whichever is smaller: both have the squares of F's singular values as eigenvalues. */
function smallerGram({ data, rows, width }: Rows): Float64Array {
  const byColumn = width <= rows;
  const n = byColumn ? width : rows;
  const inner = byColumn ? rows : width;
  const at = (i: number, k: number): number => (byColumn ? data[k * width + i] : data[i * width + k]) ?? NaN;
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += at(i, k) * at(j, k);
      gram[i * n + j] = sum;
      gram[j * n + i] = sum;
    }
  return gram;
}
