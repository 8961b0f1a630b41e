/** @file The optimizer of a run, and every scheduled value by step. */
import { constant, cosine, linear, type OptimizerConfig, type Schedule, teacherTemp, warmupThenConstant } from "../../optim/index.ts";
import type { TrainConfig } from "../config/index.ts";
import type { StepScalars } from "../stepper.ts";
import { gramStartStep } from "./gram-teacher.ts";

export function optimizerOf({ optim }: Pick<TrainConfig, "optim">): OptimizerConfig {
  const { name, betas, eps, momentum } = optim;
  if (name === "adamw") return { kind: "adamw", beta1: betas[0], beta2: betas[1], eps };
  return name === "sgd" ? { kind: "sgd", momentum } : { kind: "lars", momentum, eta: 0.001 };
}

interface Length {
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
}

/** Every scheduled value of a run of `totalSteps`, by step from 0. DINO §3.1; lengths in epochs may be fractions. */
export function scheduleScalars(config: TrainConfig, length: Length): (step: number) => StepScalars {
  const { optim, objective, init } = config;
  const stepsOf = (epochs: number): number => Math.min(length.totalSteps, Math.round(epochs * length.stepsPerEpoch));
  const { lr, weightDecay, emaMomentum } = slowScalars(config, { ...length, warmupSteps: stepsOf(config.schedule.lrWarmupEpochs) });
  const warmEpochs = objective.warmupTeacherTempEpochs;
  const temp = temperature(config, { warmEpochs, stepsPerEpoch: length.stepsPerEpoch, warmSteps: stepsOf(warmEpochs) });
  const frozenSteps = stepsOf(optim.freezeLastLayerEpochs);
  const clip = optim.clipKind === "none" ? ({ kind: "none" } as const) : ({ kind: optim.clipKind, norm: optim.clipNorm } as const);
  const inputs = objectiveWeights(config, length);
  return (step) => ({
    lr: lr(step),
    weightDecay: weightDecay(step),
    emaMomentum: emaMomentum(step),
    teacherTemp: temp(step),
    clip,
    freezeLastLayer: step < frozenSteps,
    freezeBackbone: step < init.headWarmupSteps,
    inputs: inputs(step),
  });
}

/** Rate, weight decay and teacher momentum: cosines, or constants (DINOv3 §3.2). */
function slowScalars(
  { optim, schedule }: Pick<TrainConfig, "optim" | "schedule">,
  { totalSteps, warmupSteps }: Length & { readonly warmupSteps: number },
): { readonly lr: Schedule; readonly weightDecay: Schedule; readonly emaMomentum: Schedule } {
  if (schedule.kind === "constant")
    return {
      lr: warmupThenConstant({ value: optim.lr, warmupSteps }),
      weightDecay: constant(optim.weightDecay),
      emaMomentum: constant(schedule.momentumTeacher),
    };
  return {
    lr: cosine({ base: optim.lr, final: schedule.minLr, totalSteps, warmupSteps }),
    weightDecay: cosine({ base: optim.weightDecay, final: optim.weightDecayEnd, totalSteps }),
    emaMomentum: cosine({ base: schedule.momentumTeacher, final: schedule.momentumTeacherEnd, totalSteps }),
  };
}

/** Scalar inputs of the objectives: weights of the local crops and of Gram anchoring, which starts with its teacher. */
function objectiveWeights(
  config: Pick<TrainConfig, "objective" | "gram" | "stage">,
  { totalSteps }: Length,
): (step: number) => Record<string, number> {
  const { localWeight: from, localWeightEnd: to, gramWeight, gramWeightWarmupSteps: steps } = config.objective;
  const start = gramStartStep(config);
  const local = cosine({ base: from, final: to, totalSteps });
  const gram = linear({ from: 0, to: gramWeight, steps });
  return (step) => ({ localWeight: local(step), gramWeight: step < start ? 0 : gram(step - start) });
}

/** Per epoch in DINO, where the warm-up is whole epochs; step by step in DINOv2 and DINOv3 (spec §2.6), and where it is a fraction (short runs). */
function temperature(
  { method, objective: { warmupTeacherTemp: warm, teacherTemp: final } }: Pick<TrainConfig, "method" | "objective">,
  { warmEpochs, stepsPerEpoch, warmSteps }: { readonly warmEpochs: number; readonly stepsPerEpoch: number; readonly warmSteps: number },
): Schedule {
  if (method !== "dino" || !Number.isInteger(warmEpochs)) return teacherTemp({ warm, final, warmupEpochs: warmSteps });
  const ofEpoch = teacherTemp({ warm, final, warmupEpochs: warmEpochs });
  return (step) => ofEpoch(Math.floor(step / stepsPerEpoch));
}
