/** @file What a run says before its first step: who teaches whom, what it goes on from, and what its step is not. A dry run says the same. */
import type { ResolvedConfig, TrainConfig } from "../config/index.ts";
import { describeStudents } from "./frozen-teacher.ts";
import { trainedModels } from "./networks.ts";
import type { Parent } from "./parent.ts";

interface Begun {
  readonly resolved: Pick<ResolvedConfig, "config" | "reasons">;
  /** The run that a new one goes on from. */
  readonly parent?: Parent | undefined;
}

/** Whether a new run goes on with the optimizer of the run before. */
export function isLaterStage({ resolved, parent }: Begun): boolean {
  return resolved.config.stage !== "pretrain" && parent !== undefined;
}

/** Teacher and students, the run that a stage goes on from, the Gram teacher; one line each. */
export function openingNotes({ resolved, parent }: Begun): readonly string[] {
  const { config, reasons } = resolved;
  const { distill } = config;
  const goesOn = parent !== undefined && isLaterStage({ resolved, parent });
  return [
    ...(distill.students.length > 0 ? [`Distillation by ${distill.objective}: ${reasons["distill.objective"] ?? ""}`] : []),
    ...describeStudents(config),
    ...(goesOn ? [`Goes on from step ${parent.last.state.step} of "${parent.dir}"`] : []),
    ...gramNote(config, reasons["gram.teacher"] ?? ""),
  ];
}

function gramNote({ method, objective, gram, distill }: TrainConfig, reason: string): readonly string[] {
  if (method !== "dinov3" || objective.gramWeight === 0 || gram.useEma || distill.students.length > 0) return [];
  return [gram.teacher === null ? `Gram teacher: ${reason}` : `Gram teacher: "${gram.teacher}" (${reason})`];
}

/** What accumulation cannot make the same as one large batch (contracts 8). */
export function accumulationNotes({ train, objective, head, gram, ...config }: TrainConfig): readonly string[] {
  if (train.accumulate === 1) return [];
  const where = `inside each micro-batch of ${train.batchSize} images, not over the ${train.batchSize * train.accumulate} of a step`;
  const byFeatures = config.distill.objective === "features";
  const normed = trainedModels(config).some(({ model }) => model.family === "resnet");
  return [
    ...(config.method === "simclr" ? [`SimCLR tells views apart ${where}`] : []),
    ...(objective.koleoWeight > 0 ? [`KoLeo looks for neighbours ${where}`] : []),
    ...(objective.gramWeight > 0 && gram.level === "batch" ? [`Gram matrices are those of the patches ${where}`] : []),
    ...(head.batchNorm && !byFeatures ? [`The head's batch norm takes its statistics ${where}`] : []),
    ...(normed ? [`The backbone's batch norm takes its statistics ${where}`] : []),
  ];
}
