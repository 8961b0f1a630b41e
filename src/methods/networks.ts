/** @file The networks of a self-distilling method: backbone and heads, by name. */
import { type DinoHeadConfig, dinoHeadSpecs, dinoHeadState, type ParamSpec, prefixed, vitSpecs } from "../nn/index.ts";
import type { StepConfig } from "./config.ts";
import type { Learner } from "./method.ts";

/** Parameters of the student, and of the teacher, by name. */
export function networkSpecs({ vit, head }: Pick<StepConfig, "vit" | "head">): ParamSpec[] {
  return [...prefixed(vitSpecs(vit), "backbone."), ...prefixed(dinoHeadSpecs(head), "dino_head.")];
}

/** Running statistics of batch norm in a network's head. */
export function headState({ head }: { readonly head: DinoHeadConfig }): ParamSpec[] {
  return prefixed(dinoHeadState(head), "dino_head.");
}

/** The student and the teacher that follows it. */
export function selfDistilling(config: StepConfig): Learner {
  return {
    name: "student",
    follower: "teacher",
    specs: networkSpecs(config),
    depth: config.vit.depth,
    isFrozen: (name) => config.head.normLastLayer && name.endsWith("last_layer.weight_g"),
  };
}

/** Running statistics of student and teacher. */
export function bothHeadStates(config: StepConfig): ParamSpec[] {
  return ["student.", "teacher."].flatMap((who) => prefixed(headState(config), who));
}
