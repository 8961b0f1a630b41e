/** @file Distillation that contradicts itself: without students, by features with parts of the loss that want prototypes, of nothing. */
import { ConfigError } from "../../core/index.ts";
import type { TrainConfig } from "./types.ts";

function refuse(keyPath: string, message: string): never {
  throw new ConfigError(message, { keyPath });
}

/** Throws ConfigError for a distillation that cannot be. */
export function checkDistill(config: TrainConfig): void {
  const { distill, objective } = config;
  if (distill.objective === "features") return checkFeatures(config);
  for (const key of ["clsWeight", "patchWeight"] as const)
    if (objective[key] !== 1)
      refuse(
        `objective.${key}`,
        `Cannot use objective.${key} ${objective[key]}: it is of distillation by features; leave it at 1, or distill with distill.objective=features`,
      );
}

function checkFeatures({ distill, objective, crops, init, method }: TrainConfig): void {
  if (distill.students.length === 0 || distill.teacher === null)
    refuse(
      "distill.objective",
      'Cannot distill by features: there are no students or no teacher; use "tricera distill" with --teacher and --model',
    );
  if (method === "simclr")
    refuse("method", 'Cannot distill by features with method "simclr": it has no local crops; leave method out, or set method=dino');
  for (const key of ["koleoWeight", "ibotWeight", "gramWeight"] as const)
    if (objective[key] > 0)
      refuse(
        `objective.${key}`,
        `Cannot use objective.${key} ${objective[key]}: students are held to features alone; set objective.${key}=0, or distill.objective=prototypes with a teacher that has heads`,
      );
  if (init.from !== null)
    refuse(
      "init.from",
      `Cannot begin with "${init.from}": students of a teacher's features begin with random weights; leave init.from out`,
    );
  if (objective.clsWeight === 0 && objective.patchWeight === 0)
    refuse("objective.clsWeight", "Cannot distill by features: objective.clsWeight and objective.patchWeight are both 0; set one above 0");
  if (objective.clsWeight === 0 && crops.localCount > 0)
    refuse(
      "crops.localCount",
      `Cannot use crops.localCount ${crops.localCount} with objective.clsWeight 0: local crops are matched by their class token alone; set crops.localCount=0`,
    );
}
