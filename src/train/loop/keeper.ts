/** @file What a run keeps: checkpoints, early teachers, the best teacher by k-NN, the last one as a Hugging Face folder. */
import { digestList } from "../../data/index.ts";
import type { ResolvedConfig } from "../config/index.ts";
import { type NewCheckpoint, pruneCheckpoints, readMetrics, writeCheckpoint, writeMilestone } from "../run/index.ts";
import { exportTeacher } from "./export.ts";
import { writeState } from "./run-state.ts";
import type { Run } from "./run.ts";
import type { Session } from "./session.ts";

export interface KeeperOptions {
  readonly run: Run;
  readonly session: Session;
  readonly resolved: ResolvedConfig;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
  /** Minutes of work so far. */
  readonly minutes: () => number;
}

/** Writes what lasts of a run; each thing at most once for a step. */
export class Keeper {
  readonly #options: KeeperOptions;
  readonly #dataDigest: string;
  /** Share of the run by the step after which its teacher is kept for good. */
  readonly #milestones: ReadonlyMap<number, number>;
  #savedStep: number;
  #best = -Infinity;

  private constructor(options: KeeperOptions, best: number) {
    const { run, session, resolved, totalSteps } = options;
    this.#options = options;
    this.#dataDigest = digestList(run.list);
    this.#milestones = new Map(resolved.config.checkpoint.milestones.map((share) => [Math.max(1, Math.round(share * totalSteps)), share]));
    this.#savedStep = run.options.resume === true && session.startStep > 0 ? session.startStep : -1;
    this.#best = best;
  }

  /** The best k-NN so far is read from the metrics, which the caller has cut back to the step where the run stands. */
  static async open(options: KeeperOptions): Promise<Keeper> {
    const scores = (await readMetrics(options.run.dir)).map((line) => line["knnTop1"]).filter((score) => typeof score === "number");
    return new Keeper(options, Math.max(-Infinity, ...scores));
  }

  #state(step: number): NewCheckpoint {
    const { session, resolved, stepsPerEpoch, minutes } = this.#options;
    const { seed, train } = resolved.config;
    return {
      minutes: minutes(),
      step,
      epoch: Math.floor(step / stepsPerEpoch),
      sampleCursor: step * train.batchSize * train.accumulate,
      seed,
      threads: train.threads,
      runtime: session.runtime,
      dataDigest: this.#dataDigest,
    };
  }

  /** A checkpoint after `step`; the oldest ones go. */
  async save(step: number): Promise<void> {
    if (this.#savedStep === step) return;
    const { run, session, resolved } = this.#options;
    await writeCheckpoint(run.dir, this.#state(step), (into) => writeState(into, session.stepper));
    await pruneCheckpoints(run.dir, resolved.config.checkpoint.keepLast);
    this.#savedStep = step;
  }

  /** The teacher alone, where `step` is one of the shares of the run to be kept. */
  async milestone(step: number): Promise<void> {
    const share = this.#milestones.get(step);
    if (share === undefined) return;
    const { run, session } = this.#options;
    await writeMilestone(run.dir, { share, state: this.#state(step) }, (into) => writeState(into, session.stepper, "teacher"));
  }

  /** `exported/best`, where this k-NN is better than all before. */
  async score(step: number, knnTop1: number): Promise<void> {
    if (!(knnTop1 > this.#best)) return;
    this.#best = knnTop1;
    await this.#export(step, "best", knnTop1);
  }

  /** `exported/last`. Returns its path. */
  async export(step: number): Promise<string> {
    return await this.#export(step, "last");
  }

  async #export(step: number, name: "last" | "best", knnTop1?: number): Promise<string> {
    const { run, session, resolved } = this.#options;
    return await exportTeacher(run.dir, session.stepper, {
      config: resolved.config,
      step,
      images: run.list.entries.length,
      name,
      ...(knnTop1 === undefined ? {} : { knnTop1 }),
    });
  }
}
