/** @file Objectives: one a file, pure. */
export { centeredTargets, nextCenter } from "./centering.ts";
export { dinoLoss, type DinoLossOptions } from "./dino.ts";
export { koleo, koleoPerCrop } from "./koleo.ts";
export { sinkhornTargets } from "./sinkhorn.ts";
