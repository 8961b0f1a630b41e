/** @file Rules of the optimizer, from the method, the batch, the length of the run and what it goes on from. */
import { scaleLr } from "../../optim/index.ts";
import { because, type Because, type Chooser, inheriting, METHOD_TITLES, published } from "./choose.ts";
import { atMost, type LearningFacts, n, NARROW, runBefore, SHORT_RUN_STEPS, tidy } from "./learning-facts.ts";
import { METHOD_VALUES } from "./method-values.ts";
import { initLr, stageLr } from "./rules-late-lr.ts";
import { NO_PROTOTYPES } from "./rules-objective.ts";
import type { InitConfig, OptimConfig, ScheduleConfig } from "./types.ts";

const FREEZE_SHARE = 0.05;
/** Networks of at most this many blocks are trained alike in all of them. */
const FEW_BLOCKS = 6;
/** ResNets learn with SGD (DINO) or LARS (SimCLR); rates for 256 images, decay constant. DINO spec §1.7; SimCLR §2.2. */
const RESNET = {
  dino: { name: "sgd", lr: 0.03, weightDecay: 1e-4 },
  simclr: { name: "lars", lr: 0.3, weightDecay: 1e-6 },
} as const;

const NEW_STUDENTS = "students are new: all their layers learn alike";
/** AdamW's rate of students of a frozen teacher's features, for 64 images a step. */
const FEATURES_LR = 1e-3;

function resnetOf({ model, method, byFeatures }: LearningFacts): (typeof RESNET)["dino" | "simclr"] | undefined {
  if (byFeatures) return undefined; // one optimizer for students of all families
  return model.family === "resnet" ? RESNET[method === "simclr" ? "simclr" : "dino"] : undefined;
}

/** The usual rate of a run from random weights. */
function freshLr(facts: LearningFacts): Because<number> {
  const { model, totalBatch, method, byFeatures } = facts;
  if (byFeatures) return featuresLr(totalBatch);
  const resnet = resnetOf(facts);
  if (resnet !== undefined)
    return because(
      tidy((resnet.lr * totalBatch) / 256),
      `${resnet.lr} x ${totalBatch} / 256 images a step, for a ResNet with ${resnet.name}`,
    );
  const { base, rule } = METHOD_VALUES[method].lr;
  const scaled = tidy(scaleLr(base, { batch: totalBatch, rule }));
  if (rule !== "linear-256") {
    const factor = rule === "4sqrt-1024" ? "4 x sqrt" : "sqrt";
    return because(scaled, `${METHOD_TITLES[method]}'s ${base} x ${factor}(${totalBatch} / 1024 images a step)`);
  }
  if (model.width <= NARROW && scaled < 5e-4) return because(5e-4, `a network of width ${model.width} takes DINO's 5e-4 at any batch`);
  return because(scaled, `DINO's 5e-4 x ${totalBatch} / 256 images a step`);
}

/** Of ViTs, ConvNeXts and ResNets alike. */
function featuresLr(totalBatch: number): Because<number> {
  return because(
    tidy(FEATURES_LR * Math.sqrt(totalBatch / 64)),
    `${FEATURES_LR} x sqrt(${totalBatch} / 64 images a step), for any student`,
  );
}

function lrRule(facts: LearningFacts, init: InitConfig): Because<number> {
  const before = runBefore(facts);
  if (before !== undefined) return stageLr(before, facts);
  const fresh = freshLr(facts);
  return init.from === null ? fresh : initLr(fresh, init);
}

/** Settles the optimizer. `optim.lr` is the peak as used, the batch already counted in. */
export function settleOptim(
  chooser: Chooser<OptimConfig>,
  { init, kind, ...facts }: LearningFacts & { readonly init: InitConfig; readonly kind: ScheduleConfig["kind"] },
): OptimConfig {
  const choose = inheriting(chooser, lastingPart(facts));
  const { method } = facts;
  const resnet = resnetOf(facts);
  const values = METHOD_VALUES[method].optim;
  const weightDecay = choose("weightDecay", () =>
    resnet === undefined ? published(0.04, method) : because(resnet.weightDecay, `what a ResNet takes with ${resnet.name}`),
  );
  return {
    name: choose("name", () => (resnet === undefined ? usualOptimizer(facts) : because(resnet.name, "what ResNets are trained with"))),
    lr: choose("lr", () => lrRule(facts, init)),
    betas: choose("betas", () => published([0.9, 0.999] as const, method)),
    eps: choose("eps", () => published(1e-8, method)),
    weightDecay,
    weightDecayEnd: choose("weightDecayEnd", () => decayEndRule(facts, { weightDecay, kind })),
    decayRule: choose("decayRule", () => published(values.decayRule, method)),
    clipNorm: choose("clipNorm", () => published(3, method)),
    clipKind: choose("clipKind", () => published(values.clipKind, method)),
    momentum: choose("momentum", () => published(0.9, method)),
    freezeLastLayerEpochs: choose("freezeLastLayerEpochs", () => freezeRule(facts)),
    layerDecay: choose("layerDecay", () => layerDecayRule(facts)),
    patchEmbedLrScale: choose("patchEmbedLrScale", () => patchLrRule(facts)),
  };
}

/** What a later stage takes over. */
function lastingPart(facts: LearningFacts): Partial<OptimConfig> | undefined {
  const before = runBefore(facts)?.optim;
  if (before === undefined) return undefined;
  const { name, betas, eps, weightDecay, decayRule, clipNorm, clipKind, momentum, layerDecay, patchEmbedLrScale } = before;
  return { name, betas, eps, weightDecay, decayRule, clipNorm, clipKind, momentum, layerDecay, patchEmbedLrScale };
}

function usualOptimizer({ method, byFeatures }: LearningFacts): Because<OptimConfig["name"]> {
  if (byFeatures) return because("adamw", "takes students of all families");
  return method === "simclr"
    ? because("adamw", "SimCLR's LARS is for ResNets; a ViT learns with DINO's AdamW")
    : published("adamw", method);
}

function decayEndRule(
  facts: LearningFacts,
  { weightDecay, kind }: { readonly weightDecay: number; readonly kind: ScheduleConfig["kind"] },
): Because<number> {
  const { totalSteps, method, model } = facts;
  if (kind === "constant") return because(weightDecay, "constant: as the first value");
  if (model.family === "resnet") return because(weightDecay, "a ResNet's decay stays");
  if (totalSteps < SHORT_RUN_STEPS) return because(weightDecay, `${n(totalSteps)} steps are too few for the rise to 0.4 to help`);
  return method === "simclr" ? because(weightDecay, "SimCLR's decay stays") : published(0.4, method);
}

function freezeRule(facts: LearningFacts): Because<number> {
  const { method, epochs, byFeatures } = facts;
  if (byFeatures) return because(0, NO_PROTOTYPES);
  if (method === "simclr") return because(0, "SimCLR has no prototypes");
  if (runBefore(facts) !== undefined) return because(0, "the heads come from the run it goes on from");
  return atMost(1, FREEZE_SHARE, { epochs, method });
}

function layerDecayRule({ method, model, byFeatures }: LearningFacts): Because<number> {
  if (byFeatures) return because(1, NEW_STUDENTS);
  const { layerDecay } = METHOD_VALUES[method].optim;
  if (layerDecay === 1) return because(1, `${METHOD_TITLES[method]} has no layer-wise decay`);
  if (model.family !== "vit") return because(1, "DINOv3 trains ConvNeXts without layer-wise decay");
  return model.depth <= FEW_BLOCKS
    ? because(1, `${model.depth} blocks are too few to slow the lower ones: ${METHOD_TITLES[method]}'s ${layerDecay} is for 12 and more`)
    : published(layerDecay, method);
}

function patchLrRule({ method, model, byFeatures }: LearningFacts): Because<number> {
  if (byFeatures) return because(1, NEW_STUDENTS);
  const { patchEmbedLrScale } = METHOD_VALUES[method].optim;
  if (patchEmbedLrScale === 1) return because(1, `${METHOD_TITLES[method]} trains its patch embedding as the rest`);
  return model.family !== "vit" || model.depth <= FEW_BLOCKS
    ? because(1, `a small network's first layer learns as the rest: ${METHOD_TITLES[method]}'s ${patchEmbedLrScale} steadies large ViTs`)
    : published(patchEmbedLrScale, method);
}
