/** @file Configurations of earlier releases: those knew DINO alone, and get the keys that came later with what DINO does. */
import { INGREDIENTS } from "./ingredients.ts";

type Plain = Readonly<Record<string, unknown>>;

function isPlain(value: unknown): value is Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** What the keys that came later say of a DINO run. */
const LATER = {
  model: INGREDIENTS.dino,
  crops: { sizes: [] },
  augment: { blur: "published" },
  mask: { probability: 0.5, ratioMin: 0.1, ratioMax: 0.5, fill: "under", shift: false },
  head: { lastLayer: "weight-norm", ibotSeparate: false },
  objective: { koleoTopK: 1, ibotWeight: 0, localWeight: 1, localWeightEnd: 1, gramWeight: 0, gramWeightWarmupSteps: 0 },
  gram: {
    teacher: null,
    sizePx: 0,
    useEma: false,
    firstUpdateStep: 0,
    updateEverySteps: 0,
    maxUpdates: 0,
    normalize: true,
    level: "image",
    removeNegative: false,
    removeOnlyTeacherNegative: false,
    tokens: "all",
  },
  optim: { decayRule: "dino" },
  schedule: { kind: "cosine" },
  init: { from: null, allowPartial: false, loraRank: 0, loraAlpha: 1, headWarmupSteps: 0 },
  distill: { teacher: null, students: [] },
  dense: { train: null, test: null, everyEpochs: 1, k: 20 },
} as const;

/** Later keys whose value for DINO is that of an older key. */
const SAME_AS = [
  ["head", "ibotPrototypes", "head", "prototypes"],
  ["head", "ibotHidden", "head", "hidden"],
  ["head", "ibotBottleneck", "head", "bottleneck"],
  ["objective", "koleoGroup", "train", "groupSize"],
  ["dense", "imageSizePx", "crops", "globalSizePx"],
] as const;

/** Keys that came after `stage` did: what runs did before there was a choice. */
const LATEST: Readonly<Record<string, Plain>> = {
  objective: { clsWeight: 1, patchWeight: 1 },
  distill: { objective: "prototypes" },
};

/** Sections with the keys of LATEST that they lack. */
function withLatest(value: Plain): Plain {
  const sections = Object.entries(LATEST).flatMap(([name, later]) => {
    const own = value[name];
    return isPlain(own) ? [[name, { ...later, ...own }] as const] : [];
  });
  return { ...value, ...Object.fromEntries(sections) };
}

/** A configuration of this release, or of an earlier one (the first names no `stage`) with the later keys put in. Nothing is checked here. */
export function withLaterKeys(value: unknown): unknown {
  return isPlain(value) ? withLatest(ofFirstRelease(value)) : value;
}

function ofFirstRelease(value: Plain): Plain {
  if (value["stage"] !== undefined || !isPlain(value["model"])) return value;
  const sections: Record<string, unknown> = { ...value, stage: "pretrain" };
  for (const [name, later] of Object.entries(LATER)) {
    const own = sections[name] ?? {};
    sections[name] = isPlain(own) ? { ...later, ...own } : own;
  }
  for (const [name, key, from, old] of SAME_AS) {
    const [section, source] = [sections[name], value[from]];
    if (isPlain(section) && isPlain(source)) sections[name] = { [key]: source[old], ...section };
  }
  return sections;
}
