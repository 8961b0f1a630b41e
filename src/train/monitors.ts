/** @file Collapse monitors: what the outputs and features of a batch tell about a run, and alarms in words a person can act on. */

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
  const n = Math.sqrt(gram.length);
  const singular = symmetricEigenvalues(gram, n).map((l) => Math.sqrt(Math.max(0, l)));
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

const MAX_SWEEPS = 30;

/** Eigenvalues of a symmetric matrix by cyclic Jacobi rotations; changes `a`. */
function symmetricEigenvalues(a: Float64Array, n: number): number[] {
  const scale = a.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  for (let sweep = 0; sweep < MAX_SWEEPS && offDiagonal(a, n) > 1e-10 * scale; sweep++)
    for (let p = 0; p < n - 1; p++) for (let q = p + 1; q < n; q++) rotate(a, n, { p, q });
  return Array.from({ length: n }, (_, i) => a[i * n + i]!); // i < n
}

function offDiagonal(a: Float64Array, n: number): number {
  let most = 0;
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) most = Math.max(most, Math.abs(a[i * n + j]!)); // i, j < n
  return most;
}

/** One rotation that makes a[p][q] zero (Golub & Van Loan §8.5). Indices are below n. */
function rotate(a: Float64Array, n: number, { p, q }: { readonly p: number; readonly q: number }): void {
  const apq = a[p * n + q]!; // p, q < n, as all indices below
  if (apq === 0) return;
  const theta = (a[q * n + q]! - a[p * n + p]!) / (2 * apq);
  const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (let k = 0; k < n; k++) {
    const [kp, kq] = [a[k * n + p]!, a[k * n + q]!];
    a[k * n + p] = c * kp - s * kq;
    a[k * n + q] = s * kp + c * kq;
  }
  for (let k = 0; k < n; k++) {
    const [pk, qk] = [a[p * n + k]!, a[q * n + k]!];
    a[p * n + k] = c * pk - s * qk;
    a[q * n + k] = s * pk + c * qk;
  }
}

/** What the loop measures of one step; what it does not measure is absent. */
export interface MonitorReading {
  readonly step: number;
  /** Mean cross-entropy of the DINO objective, without KoLeo. */
  readonly crossEntropy: number;
  /** Mean entropy of the teacher's distributions. */
  readonly teacherEntropy?: number | undefined;
  /** Entropy of the batch's mean teacher distribution. */
  readonly marginalEntropy?: number | undefined;
  /** `featureStd()` of the teacher's features. */
  readonly featureStd?: number | undefined;
  /** `effectiveRank()` of the teacher's features, and the most it could be: min(rows, width). */
  readonly effectiveRank?: number | undefined;
  readonly fullRank?: number | undefined;
}

export type AlarmName = "uniform" | "one-prototype" | "constant-features" | "low-rank" | "not-finite";

/** What was seen; what it means; what to try. */
export interface Alarm {
  readonly name: AlarmName;
  readonly step: number;
  readonly text: string;
}

interface AlarmRule {
  readonly name: AlarmName;
  readonly holds: (reading: MonitorReading, prototypes: number) => boolean;
  readonly text: (reading: MonitorReading, prototypes: number) => string;
}

/** Loss within this share of ln K counts as sitting there. */
const UNIFORM_SHARE = 0.005;
const ONE_PROTOTYPE_SHARE = 0.05;
const LOW_STD = 0.1;
const LOW_RANK_SHARE = 0.03;

const f = (x: number | undefined): string => (x ?? NaN).toPrecision(3);

const RULES: readonly AlarmRule[] = [
  {
    name: "not-finite",
    holds: (r) => !Number.isFinite(r.crossEntropy),
    text: (r) => `The loss is ${r.crossEntropy}; training has diverged; lower optim.lr, or make schedule.lrWarmupEpochs longer`,
  },
  {
    name: "uniform",
    holds: (r, k) =>
      Math.abs(r.crossEntropy - Math.log(k)) < UNIFORM_SHARE * Math.log(k) &&
      (r.teacherEntropy ?? Infinity) > (1 - UNIFORM_SHARE) * Math.log(k),
    text: (r, k) =>
      `The loss sits at ${f(r.crossEntropy)} = ln ${k}; teacher and student give every prototype the same share, so nothing is learned; ` +
      "lower objective.teacherTemp, use objective.centering=sinkhorn, or raise optim.lr",
  },
  {
    name: "one-prototype",
    holds: (r, k) => (r.marginalEntropy ?? Infinity) < ONE_PROTOTYPE_SHARE * Math.log(k),
    text: (r, k) =>
      `The batch's mean teacher distribution has entropy ${f(r.marginalEntropy)} of ${f(Math.log(k))}; almost all images go to one prototype; ` +
      "use objective.centering=sinkhorn, lower objective.centerMomentum, or raise objective.teacherTemp",
  },
  {
    name: "constant-features",
    holds: (r) => (r.featureStd ?? Infinity) < LOW_STD,
    text: (r) =>
      `Features of different images differ by ${f(r.featureStd)} where evenly spread ones differ by 1; the network has begun to give every image the same feature; ` +
      "raise objective.koleoWeight, use objective.centering=sinkhorn, or lower optim.lr",
  },
  {
    name: "low-rank",
    holds: (r) => r.effectiveRank !== undefined && r.fullRank !== undefined && r.effectiveRank < Math.max(2, LOW_RANK_SHARE * r.fullRank),
    text: (r) =>
      `Features fill ${f(r.effectiveRank)} of ${f(r.fullRank)} dimensions; they are collapsing onto a few directions; ` +
      "raise objective.koleoWeight, take more images a step (train.batchSize), or lower optim.lr",
  },
];

/**
 * Turns readings into alarms: a rule that holds for `patience` readings in a row sounds once, and again only after it stopped to hold.
 * A loss that is not finite sounds at once. Nothing but the first sounds during the first `quietSteps`, when every network looks collapsed.
 */
export class CollapseMonitor {
  readonly #prototypes: number;
  readonly #patience: number;
  readonly #quietSteps: number;
  readonly #held = new Map<AlarmName, number>();

  constructor(options: { readonly prototypes: number; readonly patience?: number; readonly quietSteps?: number }) {
    this.#prototypes = options.prototypes;
    this.#patience = options.patience ?? 50;
    this.#quietSteps = options.quietSteps ?? 100;
  }

  read(reading: MonitorReading): readonly Alarm[] {
    return RULES.flatMap((rule) => this.#sound(rule, reading));
  }

  #sound(rule: AlarmRule, reading: MonitorReading): readonly Alarm[] {
    const { name } = rule;
    const urgent = name === "not-finite";
    if (!urgent && reading.step <= this.#quietSteps) return [];
    if (isUnmeasured(name, reading)) return [];
    const held = rule.holds(reading, this.#prototypes) ? (this.#held.get(name) ?? 0) + 1 : 0;
    this.#held.set(name, held);
    if (held !== (urgent ? 1 : this.#patience)) return [];
    return [{ name, step: reading.step, text: rule.text(reading, this.#prototypes) }];
  }
}

/** True when the reading says nothing of the rule: readings that are taken rarely keep their count between. */
function isUnmeasured(name: AlarmName, reading: MonitorReading): boolean {
  if (name === "one-prototype") return reading.marginalEntropy === undefined;
  if (name === "constant-features") return reading.featureStd === undefined;
  return name === "low-rank" && reading.effectiveRank === undefined;
}
