/** @file Objectives: one a file, pure. */
export { centeredTargets, nextCenter, softmaxEntropies } from "./centering.ts";
export { dinoLoss, type DinoLossOptions } from "./dino.ts";
export { featureCosineLoss } from "./feature-cosine.ts";
export { gramLoss, type GramLossOptions } from "./gram.ts";
export { ibotLoss, type IbotLossOptions } from "./ibot.ts";
export { koleo, type KoleoOptions, koleoPerCrop } from "./koleo.ts";
export { resizeFeatures, type ResizeFeaturesOptions } from "./resize-features.ts";
export type { RowOptions } from "./rows.ts";
export { simclrLoss } from "./simclr.ts";
export { balance, type Balanced, sinkhornTargets, type SinkhornOptions } from "./sinkhorn.ts";
