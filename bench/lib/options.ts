/** @file Command-line options that the step benchmarks share with their PyTorch peers. */
import { nameHint, UsageError } from "../../src/core/index.ts";

interface TextOption {
  readonly type: "string";
  readonly default: string;
}
interface Flag {
  readonly type: "boolean";
  readonly default: boolean;
}

/** `--modes` is the peers' list of precisions: ours has fp32 only. */
export const STEP_OPTIONS: {
  readonly [K in "batch" | "modes" | "reps" | "threads"]: TextOption;
} & { readonly [K in "checkpointing" | "profile"]: Flag } = {
  batch: { type: "string", default: "8" },
  modes: { type: "string", default: "fp32" },
  reps: { type: "string", default: "5" },
  threads: { type: "string", default: "2" },
  checkpointing: { type: "boolean", default: false },
  profile: { type: "boolean", default: false },
};

/** What `parseArgs` gives for them. */
export interface StepValues {
  readonly batch: string;
  readonly modes: string;
  readonly reps: string;
  readonly threads: string;
  readonly checkpointing: boolean;
  readonly profile: boolean;
}

export interface StepRun {
  /** Images of a step. */
  readonly batch: number;
  /** Timed steps, after one that is not counted. */
  readonly reps: number;
  readonly threads: number;
  readonly checkpointing: boolean;
  /** Whether a table of where the time went is written to stderr. */
  readonly profile: boolean;
}

/** Throws UsageError for a number that is no whole one from 1, and for a precision that we do not have. */
export function readStepOptions({ batch, modes, reps, threads, checkpointing, profile }: StepValues): StepRun {
  if (modes !== "fp32")
    throw new UsageError(`Cannot run modes "${modes}": steps are computed in float32 only; pass --modes fp32 or leave it out`);
  return {
    batch: wholeNumber("--batch", batch),
    reps: wholeNumber("--reps", reps),
    threads: wholeNumber("--threads", threads),
    checkpointing,
    profile,
  };
}

/** A whole number from 1. Throws UsageError. */
export function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new UsageError(`Cannot read ${option} "${text}": it is no whole number from 1; give one`);
  return value;
}

/** One of some words. Throws UsageError with the nearest. */
export function oneOf<const T extends string>(option: string, text: string, words: readonly T[]): T {
  const found = words.find((word) => word === text);
  if (found === undefined)
    throw new UsageError(`Cannot read ${option} "${text}": it is none of ${words.join(", ")}; ${nameHint(text, words)}`);
  return found;
}
