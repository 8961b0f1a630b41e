/** @file Learning rates of networks that are trained already: stages after the first, and weights of others. */
import { because, type Because } from "./choose.ts";
import { type LearningFacts, tidy } from "./learning-facts.ts";
import type { InitConfig, TrainConfig } from "./types.ts";

/** A cosine's rate runs out; a tenth of its peak is what a trained network still takes. */
const LATE_SHARE = 0.1;
/** DINOv3's high-resolution stage has 1.25e-5 where its refinement had 3e-5 (spec §3.7, 3.8), both times the root of the batch. */
const HIGHRES_SHARE = 1.25 / 3;

/** The rate of the last part of a run, and how it is told. */
function lateLr({ optim, schedule, stage }: TrainConfig): Because<number> {
  return schedule.kind === "constant" || stage !== "pretrain"
    ? because(optim.lr, `the late rate ${optim.lr} of the run it goes on from`)
    : because(LATE_SHARE * optim.lr, `a tenth of the peak ${optim.lr} of the run it goes on from, whose cosine has run out`);
}

/** The constant rate of a Gram or high-resolution stage. */
export function stageLr(before: TrainConfig, { stage, totalBatch }: Pick<LearningFacts, "stage" | "totalBatch">): Because<number> {
  const late = lateLr(before);
  const batchBefore = before.train.batchSize * before.train.accumulate;
  const byBatch = Math.sqrt(totalBatch / batchBefore);
  const same = byBatch === 1 ? "" : `, x sqrt(${totalBatch} / ${batchBefore} images a step)`;
  if (stage === "gram") return because(tidy(late.value * byBatch), late.reason + same);
  return because(tidy(late.value * HIGHRES_SHARE * byBatch), `${late.reason}, x 1.25 / 3 as DINOv3 lowers it for larger crops${same}`);
}

/** The rate of a network that begins with given weights. */
export function initLr(fresh: Because<number>, { loraRank }: Pick<InitConfig, "loraRank">): Because<number> {
  return loraRank > 0
    ? because(fresh.value, `${fresh.reason}; adapters start at zero and the backbone keeps its weights, so the usual rate is safe`)
    : because(tidy(LATE_SHARE * fresh.value), `a tenth of the usual ${fresh.value}: a full rate would undo what the weights know`);
}
