/** @file Alarms of dense features: what their monitors mean, in words a person can act on (DINOv3 §4). */

/** What one look found; what it did not measure is absent. */
export interface DenseReading {
  readonly step: number;
  /** `patchSimilarityDrift()` since an earlier look. */
  readonly drift?: number | undefined;
  /** `patchSimilarityMean()`. */
  readonly similarity?: number | undefined;
  /** `clsPatchSimilarity()`. */
  readonly clsPatch?: number | undefined;
  /** Patch k-NN, a share of 1. */
  readonly patchTop1?: number | undefined;
}

export type DenseAlarmName = "dense-collapse" | "patches-follow-cls" | "dense-decay";

/** What was seen; what it means; what to try. */
export interface DenseAlarm {
  readonly name: DenseAlarmName;
  readonly step: number;
  readonly text: string;
}

/** The best looks so far, before the reading that is judged. */
interface Past {
  readonly lowestClsPatch: number;
  readonly bestTop1: number;
  readonly bestStep: number;
}

interface DenseRule {
  readonly name: DenseAlarmName;
  readonly measured: (reading: DenseReading) => boolean;
  readonly holds: (reading: DenseReading, past: Past) => boolean;
  readonly text: (reading: DenseReading, past: Past) => string;
}

/** Patches of an image whose mean cosine is above this are nearly one vector. */
const COLLAPSED = 0.95;
/** The class token is like the patches: above this, and by so much above its lowest. */
const [CLS_ABOVE, CLS_RISE] = [0.6, 0.25];
/** Patch k-NN lost this share of its best. */
const DECAY_SHARE = 0.05;

const f = (x: number | undefined): string => (x ?? NaN).toFixed(2);
const percent = (x: number | undefined): string => `${(100 * (x ?? NaN)).toFixed(1)} %`;

const RULES: readonly DenseRule[] = [
  {
    name: "dense-collapse",
    measured: ({ similarity }) => similarity !== undefined,
    holds: ({ similarity = -1 }) => similarity > COLLAPSED,
    text: ({ similarity }) =>
      `Patches of one image have a mean cosine of ${f(similarity)}; the network gives all places of a picture nearly the same feature; ` +
      "use a method with a patch objective (dinov2, dinov3), raise objective.ibotWeight, or lower optim.lr",
  },
  {
    name: "patches-follow-cls",
    measured: ({ clsPatch }) => clsPatch !== undefined,
    holds: ({ clsPatch = -1 }, { lowestClsPatch }) => clsPatch > CLS_ABOVE && clsPatch > lowestClsPatch + CLS_RISE,
    text: ({ clsPatch }, { lowestClsPatch }) =>
      `Patches have a cosine of ${f(clsPatch)} with the class token, up from ${f(lowestClsPatch)}; they lose what is local and become copies of the global feature; ` +
      "anchor them with --stage gram from an earlier checkpoint, or raise objective.gramWeight or objective.ibotWeight",
  },
  {
    name: "dense-decay",
    measured: ({ patchTop1 }) => patchTop1 !== undefined,
    holds: ({ patchTop1 = Infinity }, { bestTop1 }) => patchTop1 < (1 - DECAY_SHARE) * bestTop1,
    text: ({ patchTop1 }, { bestTop1, bestStep }) =>
      `Patch k-NN is ${percent(patchTop1)}, down from ${percent(bestTop1)} at step ${bestStep}; dense features decay, also where the class token still improves; ` +
      `anchor them with --stage gram and the teacher of about step ${bestStep}, or stop there`,
  },
];

/**
 * Turns looks at dense features into alarms: a rule that holds for `patience` looks in a row that measure it sounds once, and again only after
 * it stopped to hold. Nothing sounds during the first `quietSteps`, when every network's patches look alike.
 */
export class DenseMonitor {
  readonly #patience: number;
  readonly #quietSteps: number;
  readonly #held = new Map<DenseAlarmName, number>();
  #past: Past = { lowestClsPatch: Infinity, bestTop1: -Infinity, bestStep: 0 };

  constructor(options: { readonly patience?: number; readonly quietSteps?: number } = {}) {
    this.#patience = options.patience ?? 2;
    this.#quietSteps = options.quietSteps ?? 100;
  }

  read(reading: DenseReading): readonly DenseAlarm[] {
    const alarms = reading.step <= this.#quietSteps ? [] : RULES.flatMap((rule) => this.#sound(rule, reading));
    this.#remember(reading);
    return alarms;
  }

  #sound(rule: DenseRule, reading: DenseReading): readonly DenseAlarm[] {
    const { name } = rule;
    if (!rule.measured(reading)) return [];
    const held = rule.holds(reading, this.#past) ? (this.#held.get(name) ?? 0) + 1 : 0;
    this.#held.set(name, held);
    return held === this.#patience ? [{ name, step: reading.step, text: rule.text(reading, this.#past) }] : [];
  }

  /** Values that are not finite are not remembered: no comparison with them is true. */
  #remember({ step, clsPatch = Infinity, patchTop1 = -Infinity }: DenseReading): void {
    const { lowestClsPatch, bestTop1, bestStep } = this.#past;
    const better = patchTop1 > bestTop1;
    this.#past = {
      lowestClsPatch: clsPatch < lowestClsPatch ? clsPatch : lowestClsPatch,
      bestTop1: better ? patchTop1 : bestTop1,
      bestStep: better ? step : bestStep,
    };
  }
}
