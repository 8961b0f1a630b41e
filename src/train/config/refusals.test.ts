import { expect, test } from "vitest";
import { ConfigError } from "../../core/index.ts";
import { parseSet, resolveConfig, type RunFacts, type UserConfig } from "./index.ts";

const FACTS: RunFacts = { images: 10_000, medianSidePx: 64, cores: 2, memoryBytes: 2 ** 34 };
const V2: UserConfig = { method: "dinov2" };
const V3: UserConfig = { method: "dinov3" };
/** Gram anchoring in a first stage, by the moving teacher. */
const GRAM: UserConfig = { ...V3, objective: { gramWeight: 1 } };

const REFUSED: readonly (readonly [string, UserConfig, keyPath: string, RegExp])[] = [
  [
    "iBOT with DINO",
    { objective: { ibotWeight: 1 } },
    "objective.ibotWeight",
    /DINO has no iBOT; leave it at 0, or set method to "dinov2"/,
  ],
  [
    "Gram anchoring with DINOv2",
    { ...V2, objective: { gramWeight: 2 } },
    "objective.gramWeight",
    /DINOv2 has no Gram anchoring; .*"dinov3"/,
  ],
  [
    "a weight of local crops with DINOv2",
    { ...V2, objective: { localWeight: 0.5 } },
    "objective.localWeight",
    /DINOv2 has no weight of local crops/,
  ],
  [
    "iBOT with a ConvNeXt",
    { ...V3, model: { arch: "convnext_tiny" }, objective: { ibotWeight: 1 } },
    "objective.ibotWeight",
    /a convnext takes no masked patches/,
  ],
  ["iBOT without a mask token", { ...V2, model: { maskToken: false } }, "model.maskToken", /the network has no mask token/],
  [
    "masks of no patch",
    { ...V2, mask: { ratioMin: 0.01 } },
    "mask.ratioMin",
    /mask\.ratioMin 0\.01 of a 8 × 8 grid \(64 patches\) selects no patch; raise it to 0\.02/,
  ],
  [
    "masks of all patches",
    { ...V2, mask: { ratioMax: 1 } },
    "mask.ratioMax",
    /mask\.ratioMax 1 of a 8 × 8 grid \(64 patches\) selects all of them; lower it/,
  ],
  ["ratios the wrong way round", { ...V2, mask: { ratioMin: 0.6 } }, "mask.ratioMin", /mask\.ratioMin 0\.6 is above mask\.ratioMax 0\.5/],
  ["masks of no crop", { ...V2, mask: { probability: 0 } }, "mask.probability", /masks none of the 256 global crops of a step/],
  [
    "KoLeo on one image",
    { ...V2, train: { batchSize: 1, accumulate: 4 } },
    "objective.koleoWeight",
    /there is one image; set train\.batchSize=2/,
  ],
  [
    "a KoLeo group that does not divide",
    { ...V2, objective: { koleoGroup: 48 } },
    "objective.koleoGroup",
    /a micro-batch of 128 does not divide/,
  ],
  [
    "more neighbours than there are",
    { ...V2, objective: { koleoGroup: 4, koleoTopK: 4 } },
    "objective.koleoTopK",
    /a group of 4 images has 3 neighbours; use 3 or fewer/,
  ],
  [
    "a shared head with sizes of its own",
    { ...V2, head: { ibotPrototypes: 300 } },
    "head.ibotPrototypes",
    /the DINO head with its 512 sees the patches too; set head\.ibotSeparate=true/,
  ],
  [
    "locals larger than globals",
    { crops: { localSizePx: 72 } },
    "crops.localSizePx",
    /local crops of 72 px: they are larger than the global crops of 64 px/,
  ],
  [
    "a decay that ends elsewhere at constant rates",
    { ...V3, schedule: { kind: "constant" }, optim: { weightDecayEnd: 0.4 } },
    "optim.weightDecayEnd",
    /schedule\.kind is "constant" and optim\.weightDecay is 0\.04/,
  ],
  [
    "a least rate at constant rates",
    { ...V3, schedule: { kind: "constant", minLr: 1e-6 } },
    "schedule.minLr",
    /schedule\.kind is "constant"/,
  ],
  [
    "Gram anchoring without a teacher",
    { ...V3, objective: { gramWeight: 1 }, gram: { updateEverySteps: 0 } },
    "gram.teacher",
    /there is no Gram teacher; set gram\.teacher to weights, gram\.useEma=true/,
  ],
  ["two Gram teachers", { ...GRAM, gram: { teacher: "a", useEma: true } }, "gram.useEma", /both name the Gram teacher; keep one/],
  [
    "updates of the moving teacher",
    { ...GRAM, gram: { useEma: true, updateEverySteps: 10, sizePx: 0 } },
    "gram.updateEverySteps",
    /the moving teacher is never copied/,
  ],
  [
    "Gram crops of the moving teacher",
    { ...GRAM, gram: { useEma: true, sizePx: 128 } },
    "gram.sizePx",
    /the moving teacher sees the global crops/,
  ],
  [
    "Gram crops off the grid",
    { ...GRAM, gram: { teacher: "a", sizePx: 100 } },
    "gram.sizePx",
    /gram\.sizePx 100: it is not a multiple of the patch size 8; use 104/,
  ],
  ["small Gram crops", { ...GRAM, gram: { teacher: "a", sizePx: 32 } }, "gram.sizePx", /would see less than the global crops of 64 px/],
  [
    "both ways without negatives",
    { ...GRAM, gram: { teacher: "a", removeNegative: true, removeOnlyTeacherNegative: true } },
    "gram.removeNegative",
    /keep one/,
  ],
  [
    "masked tokens by image",
    { ...GRAM, gram: { teacher: "a", tokens: "masked" } },
    "gram.tokens",
    /set gram\.level="batch" or gram\.tokens="all"/,
  ],
  [
    "masked tokens without masks",
    { ...V3, objective: { gramWeight: 1, ibotWeight: 0 }, gram: { teacher: "a", tokens: "masked", level: "batch" } },
    "gram.tokens",
    /no patch is masked/,
  ],
  [
    "a family that is not the preset's",
    { model: { arch: "vit_nano_patch8", family: "resnet" } },
    "model.family",
    /model\.arch "vit_nano_patch8" is a vit/,
  ],
  ["free sizes of a ConvNeXt", { model: { arch: "convnext_tiny", width: 100 } }, "model.width", /convnext_tiny has 768 and no free sizes/],
  ["dropped blocks of a ResNet", { model: { arch: "resnet18", dropPath: 0.1 } }, "model.dropPath", /a ResNet drops no blocks/],
  ["heads that RoPE cannot halve twice", { ...V3, model: { width: 90, heads: 3 } }, "model.heads", /heads have 30 channels.*multiple of 4/],
  [
    "five channels that nobody looked at",
    { model: { channels: 5 } },
    "augment.mean",
    /of 5 channels: they were not looked at; give augment/,
  ],
  [
    "three means for five channels",
    { model: { channels: 5 }, augment: { mean: [0, 0, 0], std: [1, 1, 1] } },
    "augment.mean",
    /Cannot use augment.mean of 3 numbers: model.channels is 5; give 5, one a channel/,
  ],
  [
    "five deviations for colours",
    { augment: { std: [1, 1, 1, 1, 1] } },
    "augment.std",
    /Cannot use augment.std of 5 numbers: model.channels is 3/,
  ],
  [
    "hue of bands",
    { model: { channels: 1 }, augment: { mean: [0], std: [1], hue: 0.1 } },
    "augment.hue",
    /Cannot use augment.hue 0.1: it is of red, green and blue, and model.channels is 1; set augment.hue=0/,
  ],
  [
    "hue of a ResNet's bands",
    { model: { arch: "resnet18", channels: 1 }, augment: { mean: [0], std: [1], hue: 0.1 } },
    "augment.hue",
    /model.channels is 1; set augment.hue=0/,
  ],
  ["adapters of random weights", { init: { loraRank: 8 } }, "init.loraRank", /adapters need weights to adapt/],
  [
    "adapters of a ResNet",
    { model: { arch: "resnet18" }, init: { from: "a", loraRank: 8 } },
    "init.loraRank",
    /a resnet has no attention to adapt/,
  ],
  [
    "adapters that a copied Gram teacher would lack",
    { ...GRAM, init: { from: "a", loraRank: 8 } },
    "init.loraRank",
    /copies for the Gram teacher would lack the adapters; set gram\.updateEverySteps=0/,
  ],
  [
    "a first copy of the Gram teacher after the run",
    { ...GRAM, gram: { firstUpdateStep: 50, updateEverySteps: 10 }, train: { steps: 20 } },
    "gram.firstUpdateStep",
    /the run has 20 steps and would never be anchored/,
  ],
  [
    "a ConvNeXt's rates by layer",
    { ...V3, model: { arch: "convnext_tiny" }, optim: { layerDecay: 0.9 } },
    "optim.layerDecay",
    /the stages of a convnext all learn at one rate; set optim\.layerDecay=1/,
  ],
  [
    "batch norm in a head that sees padded lists",
    { ...V2, head: { batchNorm: true } },
    "head.batchNorm",
    /padding would count in the statistics; set head\.batchNorm=false or objective\.ibotWeight=0/,
  ],
  [
    "adapters wider than the network",
    { init: { from: "a", loraRank: 200 } },
    "init.loraRank",
    /the network has width 96; use a rank below it/,
  ],
  [
    "heads alone for longer than the run",
    { ...V2, init: { from: "a", headWarmupSteps: 50 }, train: { steps: 20 } },
    "init.headWarmupSteps",
    /headWarmupSteps 50: the run has 20 steps/,
  ],
  [
    "a Gram warm-up longer than the run",
    { ...GRAM, objective: { gramWeight: 1, gramWeightWarmupSteps: 50 }, train: { steps: 20 } },
    "objective.gramWeightWarmupSteps",
    /the run has 20 steps/,
  ],
  [
    "an image size off the grid of patches of 14",
    { ...V2, model: { arch: "dinov2_vits14", imageSizePx: 225 } },
    "model.imageSizePx",
    /model\.imageSizePx 225: it is not a multiple of the patch size 14; use 224 or 238/,
  ],
];
test.each(REFUSED)("resolveConfig() refuses %s", (_, user, keyPath, message) => {
  const attempt = (): unknown => resolveConfig(user, FACTS);
  expect(attempt).toThrow(message);
  expect(attempt).toThrow(expect.objectContaining({ keyPath, name: "ConfigError" }));
});

test("parseSet() reads the mixture of sizes, and says what it wants", () => {
  const one = { globalSizePx: 128, localSizePx: 32, gramSizePx: 192, ratio: 1 };
  expect(parseSet("crops.sizes=[{ globalSizePx: 128, localSizePx: 32, gramSizePx: 192, ratio: 1 }]")).toEqual({ crops: { sizes: [one] } });
  expect(parseSet("crops.sizes=[]")).toEqual({ crops: { sizes: [] } });
  for (const wrong of ["[128]", "[{ globalSizePx: 128 }]", "[{ globalSizePx: 128, localSizePx: 32, gramSizePx: 0, ratio: 2 }]"])
    expect(() => parseSet(`crops.sizes=${wrong}`)).toThrow(/wanted a list of \{ globalSizePx, localSizePx, gramSizePx, ratio \}/);
  expect(() => resolveConfig(parseSet("method=dinov4"), FACTS)).toThrow(/wanted "dino" or "dinov2" or "dinov3" or "simclr"/);
  expect(() => parseSet("stage=hires")).toThrow(ConfigError);
});
