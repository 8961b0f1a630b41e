/** @file Beginning with given weights. */
import { join } from "node:path";
import { ConfigError } from "../../core/index.ts";
import { readSafetensors } from "../../weights/index.ts";
import { findLatestCheckpoint } from "../run/index.ts";
import type { Stepper } from "../stepper.ts";
import { listMismatches } from "./run-state.ts";

/** Puts the weights of a file, or of a run's teacher, into student and teacher alike. Throws ConfigError for any that do not fit. */
export async function loadInit(
  stepper: Stepper,
  from: string,
  { allowPartial, note }: { readonly allowPartial: boolean; readonly note: (line: string) => void },
): Promise<void> {
  const file = from.endsWith(".safetensors") ? from : join((await findLatestCheckpoint(from))?.dir ?? from, "teacher.safetensors");
  const { tensors } = await readSafetensors(file);
  const wanted = new Map(stepper.specs.map((s) => [s.name, s.shape] as const));
  const mismatches = listMismatches(tensors, wanted);
  if (mismatches.length > 0 && !allowPartial)
    throw new ConfigError(
      `Cannot begin with "${file}": ${mismatches.join("; ")}; choose the model of those weights, or take what fits by --allow-partial`,
      { keyPath: "init" },
    );
  let used = 0;
  for (const { name, data } of stepper.specs.map((s) => ({ name: s.name, data: stepper.flats.params.view(s.name) }))) {
    const given = tensors.get(name);
    if (!(given?.data instanceof Float32Array) || given.data.length !== data.length) continue;
    data.set(given.data);
    stepper.flats.teacher.view(name).set(given.data);
    used++;
  }
  note(`Began with ${used} of ${stepper.specs.length} tensors of "${file}"`);
}
