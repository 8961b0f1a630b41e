/** @file Monitors of dense features: whether patches of an image keep their differences while the class token gets better (DINOv3 §4). */
import { ShapeError } from "../core/index.ts";
import type { Rows } from "./monitors.ts";

/** Patch tokens of some images, `[images, patches, width]`. */
export interface PatchTokens {
  readonly data: ArrayLike<number>;
  readonly images: number;
  readonly patches: number;
  readonly width: number;
}

const describe = ({ images, patches, width }: PatchTokens): string => `float32[${images},${patches},${width}]`;

function checkTokens(tokens: PatchTokens): void {
  const { data, images, patches, width } = tokens;
  if (images < 1 || patches < 1 || width < 1 || data.length !== images * patches * width)
    throw new ShapeError(`Cannot compare patches: ${describe(tokens)} has ${data.length} numbers; give tokens of at least one patch`);
}

/** `count` rows from row `first` on, each scaled to length 1; rows of zeros stay zeros. */
function unitRows(
  data: ArrayLike<number>,
  { first, count, width }: { readonly first: number; readonly count: number; readonly width: number },
): Float64Array {
  const out = new Float64Array(count * width);
  for (let i = 0; i < count; i++) {
    let square = 0;
    for (let j = 0; j < width; j++) square += (data[(first + i) * width + j] ?? NaN) ** 2;
    const scale = 1 / Math.max(Math.sqrt(square), 1e-12);
    for (let j = 0; j < width; j++) out[i * width + j] = (data[(first + i) * width + j] ?? NaN) * scale;
  }
  return out;
}

const unitImage = ({ data, patches, width }: PatchTokens, image: number): Float64Array =>
  unitRows(data, { first: image * patches, count: patches, width });

function dotRows(x: Float64Array, i: number, j: number, width: number): number {
  let sum = 0;
  for (let a = i * width, b = j * width; a < (i + 1) * width; a++, b++) sum += x[a]! * x[b]!; // i, j < rows
  return sum;
}

/** Mean of the squared differences of two images' matrices of cosines; both are symmetric with ones on the diagonal. */
function gramDifference(now: Float64Array, then: Float64Array, { patches, nowWidth, thenWidth }: GramSizes): number {
  let sum = 0;
  for (let i = 0; i < patches; i++)
    for (let j = 0; j < i; j++) sum += 2 * (dotRows(now, i, j, nowWidth) - dotRows(then, i, j, thenWidth)) ** 2;
  return sum / patches ** 2;
}

interface GramSizes {
  readonly patches: number;
  readonly nowWidth: number;
  readonly thenWidth: number;
}

/**
 * How far the patches' similarities have moved: mean over images of mean (XXᵀ − YYᵀ)² with rows of length 1, X the patches now and Y then; the
 * Gram loss between the two (DINOv3 §4, eq. 2) as a mean. 0: the same structure, whatever rotation the features went through. A drift of 0.04
 * means that cosines of two patches moved by 0.2. Widths may differ. Throws ShapeError for other images or patches.
 */
export function patchSimilarityDrift(now: PatchTokens, then: PatchTokens): number {
  checkTokens(now);
  checkTokens(then);
  if (now.images !== then.images || now.patches !== then.patches)
    throw new ShapeError(`Cannot compare patches: now ${describe(now)}, then ${describe(then)}; give the same images at the same size`);
  const sizes = { patches: now.patches, nowWidth: now.width, thenWidth: then.width };
  let sum = 0;
  for (let b = 0; b < now.images; b++) sum += gramDifference(unitImage(now, b), unitImage(then, b), sizes);
  return sum / now.images;
}

/** Sum of the rows. */
function total(x: Float64Array, width: number): Float64Array {
  const sum = new Float64Array(width);
  for (let i = 0; i < x.length; i++) sum[i % width] = sum[i % width]! + x[i]!; // i % width < width
  return sum;
}

/**
 * Mean cosine of two different patches of an image, over images: goes to 1 when all patches look alike. Of unit rows x_i it is
 * (|Σ x_i|² − Σ |x_i|²) / (P (P − 1)). NaN for images of one patch. Throws ShapeError.
 */
export function patchSimilarityMean(tokens: PatchTokens): number {
  checkTokens(tokens);
  const { images, patches, width } = tokens;
  let sum = 0;
  for (let b = 0; b < images; b++) {
    const x = unitImage(tokens, b);
    const own = x.reduce((s, v) => s + v * v, 0);
    sum += (total(x, width).reduce((s, v) => s + v * v, 0) - own) / (patches * (patches - 1));
  }
  return sum / images;
}

/** Mean cosine of the class token with the patches of its image, over images `[images, width]`: rises when patches become copies of it. */
export function clsPatchSimilarity(cls: Rows, tokens: PatchTokens): number {
  checkTokens(tokens);
  const { images, patches, width } = tokens;
  if (cls.rows !== images || cls.width !== width)
    throw new ShapeError(
      `Cannot compare class tokens float32[${cls.rows},${cls.width}] with patches ${describe(tokens)}: images or widths differ; give those of one network`,
    );
  const unit = unitRows(cls.data, { first: 0, count: images, width });
  let sum = 0;
  for (let b = 0; b < images; b++) {
    const patchSum = total(unitImage(tokens, b), width);
    for (let j = 0; j < width; j++) sum += (unit[b * width + j]! * patchSum[j]!) / patches; // b < images, j < width
  }
  return sum / images;
}

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
