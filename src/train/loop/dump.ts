/** @file A step that went wrong: what `--replay` needs of it, and the error that says so. */
import { ConfigError } from "../../core/index.ts";
import { imageRef, type Loader } from "../../data/index.ts";
import type { CropBatch } from "../../images/node/index.ts";
import { findNotFinite, writeDump } from "../run/index.ts";
import type { StepResult, StepScalars } from "../stepper.ts";
import { writeFrozen, writeState } from "./run-state.ts";
import type { Run } from "./run.ts";
import type { Session } from "./session.ts";

export interface FailedStep {
  /** Finished steps before it. */
  readonly step: number;
  readonly batch: CropBatch;
  readonly scalars: StepScalars;
  readonly result: StepResult;
}

/** True when nothing may be built on a step's numbers. */
export function isNotFinite({ optimizer, loss }: StepResult): boolean {
  return !optimizer.applied || !Number.isFinite(loss);
}

/** Writes the dump of a step with a NaN and returns the error to throw. */
export async function dumpStep(run: Run, { stepper }: Session, failed: FailedStep & { readonly loader: Loader }): Promise<ConfigError> {
  const { step, batch, scalars, result, loader } = failed;
  const { config } = run.resolved;
  const names = result.nonFinite.map(([name]) => name);
  const at = await writeDump(
    run.dir,
    {
      step: step + 1,
      epoch: loader.epochOf(step),
      seed: config.seed,
      reason: `the loss is ${result.loss}`,
      offending: findNotFinite(result.nonFinite),
      images: Array.from(batch.sampleIds, (id) => imageRef(run.list, id)),
      loss: Number.isFinite(result.loss) ? result.loss : null,
      scalars,
      config,
    },
    async (into) => {
      await writeState(into, stepper);
      await writeFrozen(into, stepper);
    },
  );
  const what = names.length > 0 ? `gradients of ${names.slice(0, 3).join(", ")} are not finite` : "nothing may be built on it";
  return new ConfigError(
    `Cannot go on training: step ${step + 1} has a loss of ${result.loss}, and ${what}; look at the step with --replay "${at}", or start again with a lower optim.lr`,
    { keyPath: "optim.lr" },
  );
}
