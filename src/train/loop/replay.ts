/** @file `--replay`: the step of a dump again, followed until the first number that is not finite. */
import { Rng } from "../../core/index.ts";
import { openCpu } from "../../engine/runtime/index.ts";
import { findNotFinite, readDump, type StepDump } from "../run/index.ts";
import type { Stepper } from "../stepper.ts";
import { variantOfStep } from "./variants.ts";
import { readFrozen, readState } from "./run-state.ts";
import { openCrops, openStepper } from "./session.ts";

type NotFinite = StepDump["offending"];

export interface ReplayResult {
  readonly text: string;
  readonly loss: number;
  /** Whether the step ends as the dump says. */
  readonly reproduced: boolean;
  /** Tensors with values that are not finite, in the order of the step: inputs, teacher, targets, loss, gradients. */
  readonly offending: NotFinite;
}

/** What of the learners' parameters is not finite; those of later learners under their names. */
function notFiniteParams({ learners }: Stepper): NotFinite {
  return findNotFinite(
    learners.flatMap(({ learner, flats }, i) =>
      learner.specs.map((s) => [`${i === 0 ? "" : `${learner.name}.`}params.${s.name}`, flats.params.view(s.name)] as const),
    ),
  );
}

/** Runs a dumped step again without changing the run it came from. Throws FormatError for a dump that cannot be read. */
export async function replayDump(dir: string, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<ReplayResult> {
  const dump = await readDump(dir);
  const { config, images, epoch, step, scalars } = dump;
  using device = openCpu({ threads: config.train.threads });
  await using stepper = openStepper(config, device);
  await readFrozen(dir, stepper);
  await readState(dir, stepper);
  await using pool = openCrops(config);
  const batch = await pool.crop(
    images.map(({ sampleId, path, offset, bytes }) => ({ sampleId, path, ...(offset === undefined ? {} : { offset, bytes: bytes ?? 0 }) })),
    { epoch, variant: variantOfStep(config, step - 1) },
  );
  const crops = [
    ["globals", batch.globals],
    ["locals", batch.locals],
    ["Gram crops", batch.gramCrops ?? []],
  ] as const;
  const before = [...notFiniteParams(stepper), ...findNotFinite(crops)];
  const result = await stepper.step({ ...batch, step: step - 1, rng: new Rng(config.seed), scalars, signal });
  const along = findNotFinite([
    [config.distill.students.length > 0 ? "student features" : "teacher features", result.features],
    ["teacher entropy", [result.teacherEntropy]],
    ["target entropy", [result.targetEntropy]],
    ...Object.entries(result.parts).map(([name, value]) => [name, [value]] as const),
    ["loss", [result.loss]],
  ]);
  const offending = [...before, ...along, ...findNotFinite(result.nonFinite.map(([name, data]) => [`grads.${name}`, data] as const))];
  const reproduced = dump.loss === null ? !Number.isFinite(result.loss) : result.loss === dump.loss;
  return { text: describe(dump, { result, offending, reproduced }), loss: result.loss, reproduced, offending };
}

function describe(
  dump: StepDump,
  seen: {
    readonly result: Awaited<ReturnType<Stepper["step"]>>;
    readonly offending: NotFinite;
    readonly reproduced: boolean;
  },
): string {
  const { result, offending, reproduced } = seen;
  const parts = Object.entries(result.parts).map(([name, value]) => `  ${name.padEnd(24)} ${value}`);
  const bad = offending.map(({ name, count, firstIndex }) => `  ${name}: ${count} values, the first at ${firstIndex}`);
  return [
    `Step ${dump.step} of a run with seed ${dump.seed}: ${dump.reason}`,
    `${dump.images.length} images, the first "${dump.images[0]?.path ?? ""}"`,
    `  ${"loss".padEnd(24)} ${result.loss}`,
    ...parts,
    `  ${"gradient norm".padEnd(24)} ${result.optimizer.globalNorm}`,
    bad.length === 0 ? "Every number is finite." : "Not finite, in the order of the step:",
    ...bad,
    reproduced ? "The step ends as it did in the run." : "The step ends otherwise than in the run: other images, machine or version.",
  ].join("\n");
}
