/** @file The common part of the step benchmarks: opens a device, times a method's step, prints one JSON line as the peers do. */
import { openCpu } from "../../src/engine/runtime/index.ts";
import type { HeadedConfig, Method } from "../../src/methods/index.ts";
import type { StepScalars } from "../../src/train/stepper.ts";
import { MethodStep } from "./method-step.ts";
import type { StepRun } from "./options.ts";
import { Profile, showProfile } from "./profile.ts";
import { interleave, peakRssMb, round } from "./timing.ts";

export interface StepBenchOptions {
  /** Fields of the JSON line before and after `batch`. */
  readonly script: string;
  readonly model: string;
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly run: StepRun;
  readonly method: Method;
  readonly config: HeadedConfig;
  readonly scalars: StepScalars;
}

/** Times a method's step. With `--profile` a table of regions goes to stderr; noting stages costs less than a thousandth of the time. */
export async function benchStep({ script, model, fields = {}, run, method, config, scalars }: StepBenchOptions): Promise<void> {
  const { batch, reps, threads, checkpointing } = run;
  const started = performance.now();
  using device = openCpu({ threads });
  const profile = run.profile ? new Profile() : undefined;
  await using step = new MethodStep({ device: profile?.watch(device) ?? device, method, config, scalars, checkpointing });
  const setupMs = round(performance.now() - started);
  const { fp32 } = await interleave({ fp32: () => profile?.step(() => step.run()) ?? step.run() }, reps);
  const { globalSizePx, localSizePx, localCount } = config.crops;
  console.log(
    JSON.stringify({
      script,
      model,
      batch,
      crops: `2x${globalSizePx}+${localCount}x${localSizePx}`,
      outputs: config.head.prototypes,
      ...fields,
      threads,
      results: { fp32: { ...fp32, setup_ms: setupMs } },
      arena_mb: Math.round(step.stepper.arenaBytes / 1e6),
      peak_rss_mb: peakRssMb(),
    }),
  );
  if (profile !== undefined) process.stderr.write(showProfile(profile.rows()));
}
