/** @file Rules of what the networks see: crops, their augmentation, masked patches. */
import { ConfigError } from "../../core/index.ts";
import type { AugmentConfig, CropsConfig } from "../../images/index.ts";
import { because, type Because, type Chooser, METHOD_TITLES, published } from "./choose.ts";
import { COLOURS } from "./ingredients.ts";
import { n } from "./learning-facts.ts";
import { METHOD_VALUES } from "./method-values.ts";
import { multiple, SMALL_PX } from "./rules-model.ts";
import type {
  AugmentSectionConfig,
  BandFacts,
  CropsSectionConfig,
  MaskSectionConfig,
  MethodName,
  ModelConfig,
  TeacherFacts,
} from "./types.ts";

/** In the trials of FEATURES_LOCAL_WEIGHT (one seed): 50.4 % with two, 50.9 % with six, which is within their noise. */
const FEATURES_LOCALS = 2;
const PUBLISHED_GLOBAL_PX = 224;
/** Local crops at 224 px. */
const PUBLISHED_LOCAL_PX = 96;

/** Sizes of pictures go by whole patches; a ResNet takes any. */
export function gridStep({ family, patchSizePx }: Pick<ModelConfig, "family" | "patchSizePx">): number {
  return family === "resnet" ? 1 : patchSizePx;
}

export interface CropRuleOptions {
  readonly model: ModelConfig;
  /** Students of a distillation by features: they see the teacher's crops, and the local ones alone. */
  readonly students?: readonly ModelConfig[];
  /** Whether their class tokens have a weight; true by default. */
  readonly matchesPictures?: boolean;
  readonly method: MethodName;
  readonly view: Because<number>;
}

/** The least size that is whole patches for every one of some networks. */
function commonStep(models: readonly ModelConfig[]): number {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
  return models.map(gridStep).reduce((a, b) => (a * b) / divisor(a, b), 1);
}

/** Crops twice as large as pictures call for are the most that patches which do not go together may cost. */
const MOST_ENLARGED = 2;

/** The size nearest to the wanted one that is whole patches for teacher and students. Throws ConfigError where that is far from it. */
function commonSize(view: Because<number>, models: readonly ModelConfig[]): Because<number> {
  const step = commonStep(models);
  const patches = [...new Set(models.map(gridStep))].join(", ");
  if (step > MOST_ENLARGED * Math.max(view.value, PUBLISHED_GLOBAL_PX))
    throw new ConfigError(
      `Cannot choose the global crops: patches of ${patches} px are all whole at multiples of ${n(step)} px only; leave the student out that does not go with the teacher, or set crops.globalSizePx=${step}`,
      { keyPath: "crops.globalSizePx" },
    );
  if (view.value % step === 0) return view;
  return because(multiple(view.value, step), `${view.reason}; patches of ${patches} px are all whole at multiples of ${step} px`);
}

/** Settles the crops but for mixed sizes: the published ones at 224 px, scaled down with the pictures. */
export function settleCrops(
  choose: Chooser<CropsSectionConfig>,
  { model, students = [], matchesPictures = true, method, view }: CropRuleOptions,
): CropsConfig {
  const values = METHOD_VALUES[method].crops;
  const globalSizePx = choose("globalSizePx", () => (students.length === 0 ? view : commonSize(view, [model, ...students])));
  const small = view.value <= SMALL_PX;
  const localCount = choose("localCount", () => {
    if (students.length > 0 && !matchesPictures) return because(0, "local crops are matched by their class token, which has no weight");
    if (students.length > 0) return because(FEATURES_LOCALS, "two small crops served students of features as well as six in trials");
    if (values.localCount === 0) return because(0, `${METHOD_TITLES[method]} has two crops of one size`);
    return small ? because(4, `${view.value} px pictures show little that is new in more crops`) : published(values.localCount, method);
  });
  return {
    globalSizePx,
    localSizePx: choose("localSizePx", () =>
      localRule(globalSizePx, { step: commonStep(students.length === 0 ? [model] : students), method }),
    ),
    localCount,
    globalScaleRange: choose("globalScaleRange", () => published(values.globalScaleRange, method)),
    localScaleRange: choose("localScaleRange", () =>
      small ? because([0.1, 0.4] as const, `5 % of a ${view.value} px picture is a few pixels`) : published(values.localScaleRange, method),
    ),
    interpolation: choose("interpolation", () => published(values.interpolation, method)),
  };
}

function localRule(globalSizePx: number, { step, method }: { readonly step: number; readonly method: MethodName }): Because<number> {
  if (globalSizePx === 224 && PUBLISHED_LOCAL_PX % step === 0) return published(PUBLISHED_LOCAL_PX, method);
  if (globalSizePx === 224 && method !== "dino") return published(multiple(PUBLISHED_LOCAL_PX, step), method);
  const half = Math.min(globalSizePx, multiple(globalSizePx / 2, step, Math.max(1, Math.min(2, Math.floor(globalSizePx / step)))));
  return because(half, `about half of ${globalSizePx} px, in whole patches of ${step}`);
}

export interface AugmentRuleOptions {
  readonly crops: CropsConfig;
  readonly method: MethodName;
  readonly channels: number;
  readonly bands: BandFacts | undefined;
  /** A teacher by features, whose pictures are normalised as it was taught. */
  readonly teacher?: Partial<Pick<TeacherFacts, "mean" | "std">> | undefined;
}

/** What colours alone have. */
const COLOUR_CHANGES = ["saturation", "hue", "grayscale"] as const;

/** One number a channel: ImageNet's of colours, measured of bands. Throws ConfigError where nothing was measured. */
function numberRule(key: "mean" | "std", { method, channels, bands, teacher }: AugmentRuleOptions): Because<readonly number[]> {
  const taught = teacher?.[key];
  if (taught !== undefined) return because(taught, "as the teacher's pictures are normalised");
  if (channels === COLOURS) return published(METHOD_VALUES[method].augment[key], method);
  if (bands !== undefined) return because(bands[key], `measured on ${n(bands.images)} of the pictures, each of ${channels} channels`);
  throw new ConfigError(
    `Cannot normalise pictures of ${channels} channels: they were not looked at; give augment.mean and augment.std, ${channels} numbers each`,
    { keyPath: `augment.${key}` },
  );
}

/** Settles the augmentation: the published one, without blur where it would leave nothing, and without hue, saturation and grey where there are no colours. */
export function settleAugment(choose: Chooser<AugmentSectionConfig>, options: AugmentRuleOptions): AugmentSectionConfig {
  const { crops, method, channels } = options;
  const px = crops.globalSizePx;
  const values = METHOD_VALUES[method];
  const usual: AugmentSectionConfig = { ...values.augment, blur: "published" };
  const plain = <K extends keyof AugmentConfig>(key: K): AugmentSectionConfig[K] => choose(key, () => published(usual[key], method));
  const ofBands = `pictures of ${channels} ${channels === 1 ? "channel" : "channels"}`;
  const ofColours = (key: (typeof COLOUR_CHANGES)[number]): number =>
    channels === COLOURS ? plain(key) : choose(key, () => because(0, `${ofBands}: hue, saturation and grey are of red, green and blue`));
  const ofEach = (key: "brightness" | "contrast"): number =>
    channels === COLOURS
      ? plain(key)
      : choose(key, () => because(usual[key], `as ${METHOD_TITLES[method]}; ${ofBands}, each with factors of its own`));
  const differs = values.intendedBlur !== values.augment.blurProb;
  const blur = choose("blur", () =>
    because(
      "published",
      differs ? "what the published code does, not what it means to do: its released models learned so" : "code and paper agree",
    ),
  );
  const blurRule = (): Because<AugmentConfig["blurProb"]> => {
    if (px <= SMALL_PX) return because([0, 0, 0] as const, `a blur of up to 2 px wipes out ${px} px crops`);
    if (blur === "intended" && differs) return because(values.intendedBlur, `what ${METHOD_TITLES[method]}'s paper says`);
    return published(values.augment.blurProb, method);
  };
  return {
    hflip: plain("hflip"),
    jitterProb: plain("jitterProb"),
    brightness: ofEach("brightness"),
    contrast: ofEach("contrast"),
    saturation: ofColours("saturation"),
    hue: ofColours("hue"),
    grayscale: ofColours("grayscale"),
    blur,
    blurProb: choose("blurProb", blurRule),
    blurSigmaRange: plain("blurSigmaRange"),
    solarizeProb: plain("solarizeProb"),
    solarizeThreshold: plain("solarizeThreshold"),
    mean: choose("mean", () => numberRule("mean", options)),
    std: choose("std", () => numberRule("std", options)),
  };
}

/** Settles which patches are masked; small grids lose one patch at least. */
export function settleMask(
  choose: Chooser<MaskSectionConfig>,
  { method, patches }: { readonly method: MethodName; readonly patches: number },
): MaskSectionConfig {
  const { mask, ibotWeight } = METHOD_VALUES[method];
  const plain = <K extends keyof MaskSectionConfig>(key: K): MaskSectionConfig[K] =>
    choose(key, () =>
      ibotWeight > 0 ? published(mask[key], method) : because(mask[key], `not used: ${METHOD_TITLES[method]} masks nothing`),
    );
  const least = Math.ceil(100 / Math.max(1, patches)) / 100;
  const raised = ibotWeight > 0 && least > mask.ratioMin && least <= mask.ratioMax;
  return {
    probability: plain("probability"),
    ratioMin: raised ? choose("ratioMin", () => because(least, `one of ${patches} patches at least`)) : plain("ratioMin"),
    ratioMax: plain("ratioMax"),
    fill: plain("fill"),
    shift: plain("shift"),
  };
}
