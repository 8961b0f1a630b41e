/** @file The views of DINO: which part of a picture and which changes, drawn from the seeded generator as plain data. */
import { type Rng } from "../core/index.ts";
import { type JitterOp, type JitterPlan } from "./colour.ts";
import { type Box } from "./image.ts";
import { type Kernel } from "./kernels.ts";
import { IMAGENET_MEAN, IMAGENET_STD } from "./pixel-ops.ts";

/** Sizes and scales of the two kinds of crops. Scales are shares of the picture's area. */
export interface CropsConfig {
  readonly globalSizePx: number;
  readonly localSizePx: number;
  readonly localCount: number;
  readonly globalScaleRange: readonly [number, number];
  readonly localScaleRange: readonly [number, number];
  readonly interpolation: "bicubic" | "bilinear";
  /** Side of a second, undistorted rendering of the global crops, which a Gram teacher sees; none where absent or 0. */
  readonly gramSizePx?: number;
}

/** Probabilities and strengths of the changes; triples are for global 1, global 2, locals. */
export interface AugmentConfig {
  readonly hflip: number;
  readonly jitterProb: number;
  readonly brightness: number;
  readonly contrast: number;
  readonly saturation: number;
  readonly hue: number;
  readonly grayscale: number;
  readonly blurProb: readonly [global1: number, global2: number, local: number];
  readonly blurSigmaRange: readonly [number, number];
  readonly solarizeProb: readonly [number, number, number];
  readonly solarizeThreshold: number;
  /** One number a channel: as many as pictures have. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Two global crops of 224 px and eight local ones of 96 px (DINO §1.2 of the specification). */
export const DINO_CROPS: CropsConfig = {
  globalSizePx: 224,
  localSizePx: 96,
  localCount: 8,
  globalScaleRange: [0.4, 1],
  localScaleRange: [0.05, 0.4],
  interpolation: "bicubic",
};

/** DINO §1.3 of the specification. */
export const DINO_AUGMENT: AugmentConfig = {
  hflip: 0.5,
  jitterProb: 0.8,
  brightness: 0.4,
  contrast: 0.4,
  saturation: 0.2,
  hue: 0.1,
  grayscale: 0.2,
  blurProb: [1, 0.1, 0.5],
  blurSigmaRange: [0.1, 2],
  solarizeProb: [0, 0.2, 0],
  solarizeThreshold: 128,
  mean: IMAGENET_MEAN,
  std: IMAGENET_STD,
};

/** Everything that decides one view; JSON-able, so that any crop can be made again. */
export interface ViewPlan {
  readonly sizePx: number;
  readonly box: Box;
  readonly kernel: Kernel;
  readonly flip: boolean;
  readonly jitter: JitterPlan;
  readonly grayscale: boolean;
  /** 0 = no blur. */
  readonly blurSigma: number;
  /** 256 = no solarisation. */
  readonly solarizeThreshold: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Half-way cases go to the even neighbour, as Python's `round` does. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

interface Size {
  readonly width: number;
  readonly height: number;
}

export interface CropBoxOptions extends Size {
  /** Share of the area. */
  readonly scaleRange: readonly [number, number];
  /** Width over height; default 3/4 to 4/3, log-uniform. */
  readonly ratioRange?: readonly [number, number];
}

/** Torchvision's RandomResizedCrop: ten tries of a random area and ratio, then the largest centred box with a ratio in range. */
export function drawCropBox(rng: Rng, { width, height, scaleRange, ratioRange = [3 / 4, 4 / 3] }: CropBoxOptions): Box {
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = width * height * rng.uniform(scaleRange[0], scaleRange[1]);
    const ratio = Math.exp(rng.uniform(Math.log(ratioRange[0]), Math.log(ratioRange[1])));
    const w = roundHalfEven(Math.sqrt(area * ratio));
    const h = roundHalfEven(Math.sqrt(area / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const top = rng.int(height - h + 1);
    return { left: rng.int(width - w + 1), top, width: w, height: h };
  }
  return fallbackBox({ width, height }, ratioRange);
}

/** The centred box that torchvision falls back to: the whole picture, cut where its ratio is out of range. */
export function fallbackBox({ width, height }: Size, ratioRange: readonly [number, number] = [3 / 4, 4 / 3]): Box {
  let w = width;
  let h = height;
  if (width / height < ratioRange[0]) h = Math.max(1, roundHalfEven(width / ratioRange[0]));
  else if (width / height > ratioRange[1]) w = Math.max(1, roundHalfEven(height * ratioRange[1]));
  return { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
}

/** The path of the generator for one view; a view depends on nothing else. */
export function viewPath(epoch: number, sampleId: number, view: number): string {
  return `crop/${epoch}/${sampleId}/${view}`;
}

export interface DrawViewOptions extends Size {
  /** 0 and 1 are the globals, 2 and up the locals. */
  readonly view: number;
  readonly crops: CropsConfig;
  readonly augment: AugmentConfig;
}

/** Draws one view of a picture of the given size. Every chance is drawn in a fixed order, so changing one probability moves no other draw. */
export function drawView(rng: Rng, { width, height, view, crops, augment }: DrawViewOptions): ViewPlan {
  const local = view >= 2;
  const kind = view === 0 ? 0 : view === 1 ? 1 : 2;
  const box = drawCropBox(rng.split("box"), { width, height, scaleRange: local ? crops.localScaleRange : crops.globalScaleRange });
  const flip = rng.bernoulli(augment.hflip);
  const jittered = rng.bernoulli(augment.jitterProb);
  const jitter = drawJitter(rng, augment);
  const grayscale = rng.bernoulli(augment.grayscale);
  const blurred = rng.bernoulli(augment.blurProb[kind]);
  const blurSigma = rng.uniform(augment.blurSigmaRange[0], augment.blurSigmaRange[1]);
  const solarised = rng.bernoulli(augment.solarizeProb[kind]);
  return {
    sizePx: local ? crops.localSizePx : crops.globalSizePx,
    box,
    kernel: crops.interpolation,
    flip,
    jitter: jittered ? jitter : [],
    grayscale,
    blurSigma: blurred ? blurSigma : 0,
    solarizeThreshold: solarised ? augment.solarizeThreshold : 256,
    mean: augment.mean,
    std: augment.std,
  };
}

const JITTER_OPS: readonly JitterOp[] = ["brightness", "contrast", "saturation", "hue"];

/** Factors uniform in [max(0, 1 - s), 1 + s], hue in [-s, s]; the order is a random permutation; a strength of 0 leaves the step out. */
function drawJitter(rng: Rng, augment: AugmentConfig): JitterPlan {
  const factors = JITTER_OPS.map((op) => {
    const s = augment[op];
    return op === "hue" ? rng.uniform(-s, s) : rng.uniform(Math.max(0, 1 - s), 1 + s);
  });
  const plan: (readonly [JitterOp, number])[] = [];
  for (const i of rng.permutation(JITTER_OPS.length)) {
    const op = JITTER_OPS[i]!; // a permutation of the list's indices
    if (augment[op] > 0) plan.push([op, factors[i]!]); // factors has the list's length
  }
  return plan;
}

/** The same part of the picture at another size, flipped alike, with its own colours. DINOv3 §4.3. */
export function cleanView(plan: ViewPlan, sizePx: number): ViewPlan {
  return { ...plan, sizePx, jitter: [], grayscale: false, blurSigma: 0, solarizeThreshold: 256 };
}

/** Number of values of one image's crops: each of 2 globals, of the locals, and of 2 crops for a Gram teacher. */
export function cropSizes(
  crops: CropsConfig,
  channels = 3,
): {
  readonly global: number;
  readonly local: number;
  readonly gram: number;
  readonly views: number;
} {
  const { globalSizePx, localSizePx, gramSizePx = 0, localCount } = crops;
  return {
    global: channels * globalSizePx ** 2,
    local: channels * localSizePx ** 2,
    gram: channels * gramSizePx ** 2,
    views: 2 + localCount,
  };
}
