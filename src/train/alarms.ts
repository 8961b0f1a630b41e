/** @file Alarms: what the monitors of a run mean, in words a person can act on. */

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
