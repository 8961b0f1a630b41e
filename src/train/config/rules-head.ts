/** @file Rules of the heads: as many prototypes as the data can fill and a step can feed, hidden layers as wide as the network deserves. */
import { because, type Because, type Chooser, METHOD_TITLES, published, SMALL_DATA } from "./choose.ts";
import { n, NARROW } from "./learning-facts.ts";
import { expectedMasked } from "./mask-counts.ts";
import { METHOD_VALUES } from "./method-values.ts";
import type { HeadConfig, MaskSectionConfig, MethodName, ModelConfig } from "./types.ts";

/** Images behind one prototype: 10,000 images learn with 512 prototypes, ImageNet's 1.28 million with 65,536. */
const IMAGES_PER_PROTOTYPE = 16;
const MAX_PROTOTYPES = 65_536;
const MIN_PROTOTYPES = 256;
/** Sinkhorn-Knopp gives every prototype the same share of a step's rows, two an image: with more, targets are spread thin. */
const PER_IMAGE_OF_A_STEP = 4;
/** What DINOv2's largest runs ask of a step: 131,072 prototypes for 3,072 images. */
const PER_IMAGE_AT_MOST = 43;

const powerBelow = (value: number): number => 2 ** Math.floor(Math.log2(Math.max(1, value)));

/** Prototypes that a step of so many rows can feed; a global crop makes a row, and so does a masked patch. */
export function fedPrototypes(rows: number, images: number): number {
  const perImage = images < SMALL_DATA ? PER_IMAGE_OF_A_STEP : PER_IMAGE_AT_MOST;
  return Math.max(MIN_PROTOTYPES, powerBelow((perImage / 2) * rows));
}

export interface HeadRuleOptions {
  readonly images: number;
  readonly model: ModelConfig;
  /** Images of a step. */
  readonly batch: number;
  readonly method: MethodName;
  readonly mask: MaskSectionConfig;
  /** Patches of a global crop. */
  readonly patches: number;
}

function prototypeRule({ images, batch, method }: HeadRuleOptions): Because<number> {
  const byData = Math.min(MAX_PROTOTYPES, Math.max(MIN_PROTOTYPES, powerBelow(images / IMAGES_PER_PROTOTYPE)));
  const fed = fedPrototypes(2 * batch, images);
  if (method === "simclr") return because(MIN_PROTOTYPES, "not used: SimCLR has no prototypes");
  const balanced = images < SMALL_DATA || method !== "dino";
  if (balanced && fed < byData) return because(fed, `what a step of ${batch} images can feed: Sinkhorn-Knopp shares its rows out evenly`);
  return byData === MAX_PROTOTYPES
    ? published(MAX_PROTOTYPES, method)
    : because(byData, `${n(images)} images: one prototype for about ${IMAGES_PER_PROTOTYPE} of them`);
}

/** Settles the heads. */
export function settleHead(choose: Chooser<HeadConfig>, options: HeadRuleOptions): HeadConfig {
  const { model, method } = options;
  const values = METHOD_VALUES[method];
  const narrow = model.width <= NARROW;
  const small = <T>(value: T, usual: T): Because<T> =>
    narrow ? because(value, `a network of width ${model.width} needs no larger head`) : published(usual, method);
  const simclr = method === "simclr";
  const dino = {
    prototypes: choose("prototypes", () => prototypeRule(options)),
    hidden: choose("hidden", () => small(512, 2048)),
    bottleneck: choose("bottleneck", () => (simclr ? published(128, method) : small(128, 256))),
  };
  return {
    ...dino,
    layers: choose("layers", () => published(simclr ? 2 : 3, method)),
    batchNorm: choose("batchNorm", () => published(false, method)),
    normLastLayer: choose("normLastLayer", () => published(values.normLastLayer, method)),
    lastLayer: choose("lastLayer", () =>
      simclr ? because("weight-norm", "not used: SimCLR has no prototypes") : published(values.lastLayer, method),
    ),
    ...settleIbotHead(choose, { ...options, dino }),
  };
}

type DinoHead = Pick<HeadConfig, "prototypes" | "hidden" | "bottleneck">;

function settleIbotHead(
  choose: Chooser<HeadConfig>,
  { dino, ...options }: HeadRuleOptions & { readonly dino: DinoHead },
): Pick<HeadConfig, "ibotSeparate" | "ibotPrototypes" | "ibotHidden" | "ibotBottleneck"> {
  const { method } = options;
  const { ibotWeight, ibotSeparate: usual } = METHOD_VALUES[method];
  const none = `not used: ${METHOD_TITLES[method]} has no iBOT`;
  const ibotSeparate = choose("ibotSeparate", () => (ibotWeight > 0 ? published(usual, method) : because(usual, none)));
  const asDino = ibotSeparate ? "as the DINO head" : ibotWeight > 0 ? "the DINO head sees the patches too" : none;
  return {
    ibotSeparate,
    ibotPrototypes: choose("ibotPrototypes", () => (ibotSeparate ? ibotPrototypeRule(options) : because(dino.prototypes, asDino))),
    ibotHidden: choose("ibotHidden", () => because(dino.hidden, asDino)),
    ibotBottleneck: choose("ibotBottleneck", () => because(dino.bottleneck, asDino)),
  };
}

/** As many as the DINO head may have by the data, fed by the step's masked patches. */
function ibotPrototypeRule(options: HeadRuleOptions): Because<number> {
  const { images, batch, mask, patches } = options;
  const rows = Math.floor(expectedMasked(mask, { images: batch, patches }));
  const byData = prototypeRule({ ...options, batch: Infinity });
  const fed = fedPrototypes(rows, images);
  return fed < byData.value ? because(fed, `what about ${n(rows)} masked patches a step can feed`) : byData;
}
