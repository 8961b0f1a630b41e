/** @file Before a run: the whole configuration with its reasons, or what the run would take of time, memory and disk. */
import { join } from "node:path";
import { type JobOptions, Rng } from "../../core/index.ts";
import { type DataList, listData, Loader } from "../../data/index.ts";
import { openCpu } from "../../engine/runtime/index.ts";
import {
  assertFitsMemory,
  estimateMemory,
  estimateRunBytes,
  formatConfig,
  planSteps,
  sizesOf,
  type TrainConfig,
  type UserConfig,
} from "../config/index.ts";
import { channelsOf, factsOfBeginning, resolveBeginning, settleBeginning } from "./beginning.ts";
import { drawContactSheet } from "./contact-sheet.ts";
import { imagesOfStep, variantOfStep } from "./variants.ts";
import { measureStep } from "./measure.ts";
import { accumulationNotes, openingNotes } from "./notes.ts";
import { type DataLook, factsOf, imagePolicy, lookAtImages, measureBands } from "./prepare.ts";
import { openCrops, openStepper } from "./session.ts";

/** Steps that a dry run times. */
const TIMED = 2;

/** The resolved configuration, one line a value. */
export async function printConfig(user: UserConfig, options: JobOptions): Promise<string> {
  const beginning = await settleBeginning(user);
  const list = await listData(beginning.user.data?.path ?? "", options);
  return formatConfig(resolveBeginning(beginning, await factsOfBeginning(list, beginning)));
}

export interface DryRun {
  readonly text: string;
  readonly images: number;
  readonly steps: number;
  readonly stepMs: number;
  readonly minutes: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  /** The picture of the first batch's crops. */
  readonly contactSheet: string;
}

/** What a run would take, its step measured on the real images, and a picture of its crops. Nothing is trained. */
export async function dryRun(user: UserConfig, options: JobOptions & { readonly out?: string | undefined }): Promise<DryRun> {
  const beginning = await settleBeginning(user);
  const list = await listData(beginning.user.data?.path ?? "", options);
  const channels = channelsOf(beginning);
  const look = await lookAtImages(list, imagePolicy(user, channels));
  const bands = await measureBands(list, { user: beginning.user, channels });
  const resolved = resolveBeginning(beginning, { ...factsOf(look), ...bands });
  const { config, warnings = [] } = resolved;
  assertFitsMemory(config, factsOf(look).memoryBytes);
  const stepMs = await timeStep(list, { config, signal: options.signal });
  const contactSheet = options.out === undefined ? "tricera-dry-run.png" : join(options.out, "dry-run.png");
  await drawContactSheet({ list, config, outFile: contactSheet });
  const { stepsPerEpoch, totalSteps } = planSteps(config, look.images);
  const steps = totalSteps ?? Math.round(((config.train.minutes ?? 1) * 60_000) / stepMs);
  const found = {
    images: look.images,
    steps,
    stepMs: Math.round(stepMs),
    minutes: Number(((steps * stepMs) / 60_000).toPrecision(3)),
    memoryBytes: estimateMemory(config).totalBytes,
    diskBytes: estimateRunBytes(config),
    contactSheet,
  };
  const notes = [
    ...warnings.map((warning) => `Warning: ${warning}`),
    ...openingNotes({ resolved, parent: beginning.parent }),
    ...accumulationNotes(config),
  ];
  return { text: describe(found, { look, config, stepsPerEpoch, notes }), ...found };
}

async function timeStep(
  list: DataList,
  { config, signal }: { readonly config: TrainConfig; readonly signal: AbortSignal | undefined },
): Promise<number> {
  const rng = new Rng(config.seed);
  using device = openCpu({ threads: config.train.threads });
  await using stepper = openStepper(config, device);
  stepper.init(rng.split("init"));
  await using pool = openCrops(config);
  const loader = new Loader({
    list,
    pool,
    seed: config.seed,
    batchSize: imagesOfStep(config),
    variantOf: (step) => variantOfStep(config, step),
  });
  try {
    return await measureStep({ stepper, rng }, { loader, config, steps: TIMED, signal });
  } finally {
    await loader.drain();
  }
}

interface Described {
  readonly look: DataLook;
  readonly config: TrainConfig;
  readonly stepsPerEpoch: number;
  /** What the run would say before its first step. */
  readonly notes: readonly string[];
}

/** The networks, each on a line: what trains, or a teacher and its students. */
function networkRows({ model, distill: { students } }: TrainConfig): readonly (readonly [name: string, text: string])[] {
  const text = ({ arch, width, depth, patchSizePx }: TrainConfig["model"]): string =>
    `${arch}, width ${width}, ${depth} blocks, patch ${patchSizePx} px`;
  if (students.length === 0) return [["model", text(model)]];
  return [["teacher", text(model)], ...students.map((student, i) => [i === 0 ? "students" : "", text(student.model)] as const)];
}

/** The crops, of mixed sizes each triple with its share of the steps. */
function cropRows(config: TrainConfig): readonly (readonly [name: string, text: string])[] {
  const { localCount, sizes } = config.crops;
  return sizesOf(config).map(({ globalSizePx, localSizePx, gramSizePx, ratio }, i) => {
    const gram = gramSizePx > 0 ? `, ${gramSizePx} px for the Gram teacher` : "";
    const share = sizes.length === 0 ? "" : `, ${Number((100 * ratio).toFixed(1))} % of the steps`;
    return [i === 0 ? "crops" : "", `2 of ${globalSizePx} px and ${localCount} of ${localSizePx} px${gram}${share}`] as const;
  });
}

function describe(found: Omit<DryRun, "text">, { look, config, stepsPerEpoch, notes }: Described): string {
  const { sidesPx: sides, mean, std, broken, looked } = look;
  const gb = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GB`;
  const triple = (values: readonly number[]): string => values.map((x) => x.toFixed(3)).join(", ");
  const { train } = config;
  const row = (name: string, text: string): string => `${name.padEnd(14)}${text}`;
  return [
    row("images", `${found.images.toLocaleString("en-US")}; ${looked} looked at, ${broken.length} of them broken`),
    ...broken.slice(0, 3).map((reason) => row("", reason)),
    row("shorter side", `${sides[0] ?? 0} to ${sides.at(-1) ?? 0} px, median ${sides[sides.length >> 1] ?? 0} px`),
    row(
      "mean, std",
      `${triple(mean)}; ${triple(std)} (the run normalises by ${triple(config.augment.mean)}; ${triple(config.augment.std)})`,
    ),
    ...[...networkRows(config), ...cropRows(config)].map(([name, text]) => row(name, text)),
    row("steps", `${found.steps.toLocaleString("en-US")} of ${train.batchSize * train.accumulate} images, ${stepsPerEpoch} an epoch`),
    row("time", `${found.minutes} minutes, ${(found.stepMs / 1000).toFixed(2)} s a step (measured, without the optimizer)`),
    row("memory", `${gb(found.memoryBytes)} (estimate)`),
    row("disk", `${gb(found.diskBytes)} for checkpoints`),
    row("crops shown", found.contactSheet),
    ...notes,
  ]
    .map((line) => line.trimEnd())
    .join("\n");
}
