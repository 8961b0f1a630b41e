/** @file Rules of the network, from the method and the number and size of the pictures. */
import { type Arch, type ArchSize, type ArchSizeName, archSize, parseArch } from "./arch.ts";
import { AS_BEFORE, because, type Because, type Chooser, inheriting, published, SMALL_DATA } from "./choose.ts";
import { COLOURS, lineOf } from "./ingredients.ts";
import { dropPathRule, settleIngredients } from "./rules-ingredients.ts";
import type { MethodName, ModelConfig, RunFacts, StageName, UserConfig } from "./types.ts";

/** Image sizes the profile picks from: the largest that the pictures fill. */
const IMAGE_SIZES = [32, 64, 96, 128, 224] as const;
/** With this many cores or fewer, 224 px takes days; the profile stays at 96 px unless a published network is asked for. */
const FEW_CORES = 4;
const FEW_CORES_MAX_PX = 96;
/** Pictures below this are small: four local crops, no blur. */
export const SMALL_PX = 64;

const n = (value: number): string => value.toLocaleString("en-US");

/** The multiple of a patch nearest to a size. */
export function multiple(value: number, of: number, least = 1): number {
  return Math.max(least, Math.round(value / of)) * of;
}

function imageSizeRule(user: UserConfig, facts: RunFacts, named: { readonly patchSizePx: number } | undefined): Because<number> {
  const global = user.crops?.globalSizePx;
  if (global !== undefined) return because(global, "the size of the global crops");
  const side = facts.medianSidePx;
  const cap = named === undefined && facts.cores <= FEW_CORES ? FEW_CORES_MAX_PX : 224;
  const fits = IMAGE_SIZES.filter((size) => size <= Math.max(side, 32) && size <= cap).at(-1) ?? 32;
  const patch = user.model?.patchSizePx ?? named?.patchSizePx ?? 1;
  const size = fits % patch === 0 ? fits : multiple(fits, patch);
  const seen = `the pictures' median side is ${n(side)} px`;
  if (fits === cap && cap < 224 && side > cap)
    return because(size, `${seen}; with ${facts.cores} cores more than ${cap} px would take days`);
  return because(size, side < 32 ? `${seen}; 32 px is the least that makes a grid of patches` : seen);
}

function patchRule(imageSizePx: number): Because<number> {
  const wanted = imageSizePx <= 40 ? 4 : imageSizePx <= 96 ? 8 : 16;
  const patch = [16, 14, 12, 10, 8, 7, 6, 5, 4].find((p) => p <= wanted && imageSizePx % p === 0) ?? wanted;
  return because(patch, `${imageSizePx} px pictures make ${Math.floor(imageSizePx / patch)} x ${Math.floor(imageSizePx / patch)} patches`);
}

function sizeRule(images: number, imageSizePx: number): Because<ArchSizeName> {
  if (images < 50_000)
    return imageSizePx <= SMALL_PX
      ? because("nano", `${n(images)} small pictures: 3-4 blocks of width 64-96 learned from the first minute in trials of this scale`)
      : because("micro", `${n(images)} pictures are few: a small network learns sooner`);
  if (images < 500_000) return because("tiny", `${n(images)} pictures are enough for ViT-Ti`);
  return because("small", `${n(images)} pictures are enough for ViT-S, DINO's default`);
}

function headsRule(width: number): Because<number> {
  const perHead = width >= 192 && width % 64 === 0 ? 64 : 32;
  return width % perHead === 0
    ? because(width / perHead, `${perHead} channels a head`)
    : because(1, `width ${width} has no heads of 32 channels`);
}

/** On CIFAR-10, 400 steps of 128: k-NN 35.8 % from sines and cosines, 31.9 % (500 steps) from DINO's random start. */
function positionRule(images: number, width: number, isLearned: boolean): Because<"normal" | "sincos"> {
  if (!isLearned) return because("normal", "there is no table of positions");
  return images < SMALL_DATA && width % 4 === 0
    ? because("sincos", `${n(images)} pictures are few: positions that start as sines and cosines need not be learned first`)
    : published("normal");
}

/** What the network's rules go by. */
export interface ModelRuleOptions {
  readonly user: UserConfig;
  readonly facts: RunFacts;
  readonly method: MethodName;
  readonly stage: StageName;
}

/** The network to begin with, where there is one and the user names no other. */
function givenModel({
  user,
  facts,
  stage,
}: Pick<ModelRuleOptions, "user" | "stage"> & { readonly facts: Pick<RunFacts, "parent" | "initModel" | "teacher"> }):
  | { readonly model: Partial<ModelConfig>; readonly why: string }
  | undefined {
  if (stage === "pretrain" && user.model?.arch !== undefined) return undefined;
  if (facts.parent !== undefined) return { model: facts.parent.model, why: AS_BEFORE };
  if (facts.initModel === undefined) return undefined;
  return {
    model: facts.initModel,
    why: facts.teacher === undefined ? "as the weights to begin with have it" : "as the teacher's weights have it",
  };
}

/** Channels of the pictures, as `settleModel` settles them: known before the pictures are looked at. */
export function intendedChannels({ user, ...known }: { readonly user: UserConfig } & Pick<RunFacts, "parent" | "initModel">): number {
  const given = givenModel({ user, facts: known, stage: user.stage ?? "pretrain" });
  return user.model?.channels ?? given?.model.channels ?? COLOURS;
}

/** The preset that is asked for, or that the weights to begin with name. */
function namedArch({ user, facts, stage }: ModelRuleOptions): Arch | undefined {
  const name = user.model?.arch ?? givenModel({ user, facts, stage })?.model.arch;
  return name === undefined ? undefined : parseArch(name);
}

/** Side of the pictures a run looks at: the network's own, but where the weights to begin with are for other pictures. */
export function viewSize(options: ModelRuleOptions, model: ModelConfig): Because<number> {
  const { user, facts } = options;
  const foreign = facts.parent === undefined && facts.initModel?.imageSizePx !== undefined && user.model?.imageSizePx === undefined;
  if (!foreign) return because(model.imageSizePx, "the network's image size");
  const byPictures = imageSizeRule(user, facts, model);
  const { sizePx = Infinity } = facts.teacher ?? {};
  return sizePx < byPictures.value ? because(sizePx, "the size of the teacher's own pictures") : byPictures;
}

/** Settles the network. Throws ConfigError for a preset that does not exist. */
export function settleModel(chooser: Chooser<ModelConfig>, options: ModelRuleOptions): ModelConfig {
  const { user, facts, method } = options;
  const given = givenModel(options);
  const choose = inheriting(chooser, given?.model, given?.why);
  const named = namedArch(options);
  const imageSizePx = choose("imageSizePx", () => imageSizeRule(user, facts, named));
  const patchSizePx = choose("patchSizePx", () =>
    named === undefined ? patchRule(imageSizePx) : because(named.patchSizePx, "the preset's"),
  );
  const { size, reason, name } = pickSize(named, { images: facts.images, imageSizePx });
  const free = choose.isSet("width") || choose.isSet("depth") || choose.isSet("heads");
  const preset = `vit_${name}_patch${patchSizePx}`;
  const arch = choose("arch", () => (free ? because("vit", `your own sizes over ${preset}`) : because(preset, reason)));
  const width = choose("width", () => because(size.width, reason));
  const depth = choose("depth", () => because(size.depth, reason));
  const line = named?.line ?? lineOf(method);
  const parts = settleIngredients(choose, { line, own: named?.own ?? {}, width, method, images: facts.images });
  return {
    arch,
    depth,
    width,
    heads: choose("heads", () => (width === size.width ? because(size.heads, reason) : headsRule(width))),
    patchSizePx,
    imageSizePx,
    ...parts,
    dropPath: choose("dropPath", () => dropPathRule(line, { width, depth })),
    posEmbedInit: choose("posEmbedInit", () => positionRule(facts.images, width, parts.positions === "learned" && parts.family === "vit")),
  };
}

function pickSize(
  named: Arch | undefined,
  { images, imageSizePx }: { readonly images: number; readonly imageSizePx: number },
): { readonly size: ArchSize; readonly reason: string; readonly name: string } {
  if (named !== undefined) return { size: named.size, reason: "the preset's", name: named.name };
  const { value, reason } = sizeRule(images, imageSizePx);
  return { size: archSize(value), reason, name: value };
}
