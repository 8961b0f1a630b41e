/** @file The Gram teacher: which of a run's teachers it is, its weights, and when it is renewed. DINOv3 §4.2; spec §3.6. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../../core/index.ts";
import { readSafetensors } from "../../weights/index.ts";
import type { TrainConfig } from "../config/index.ts";
import { readMetrics } from "../run/index.ts";
import type { Stepper } from "../stepper.ts";
import { findParent, type KeptTeacher, listTeachers, type Parent } from "./parent.ts";
import { listMismatches } from "./run-state.ts";

/** DINOv3 took the teacher of 10 to 20 % of its run: its patches are still clean. */
const EARLY_SHARE = 0.2;

export interface GramChoice {
  /** Folder with `teacher.safetensors`. */
  readonly path: string;
  readonly reason: string;
}

/** The teacher whose patches served best, where the run measured them; else the one nearest to a fifth of the run. */
export async function chooseGramTeacher(parent: Parent): Promise<GramChoice> {
  const teachers = await listTeachers(parent);
  const best = await bestDenseStep(parent);
  const wanted = best?.step ?? EARLY_SHARE * parent.last.state.step;
  const chosen = teachers.reduce((a, b) => (Math.abs(b.step - wanted) < Math.abs(a.step - wanted) ? b : a));
  return { path: chosen.dir, reason: describe(chosen, { total: parent.last.state.step, best }) };
}

interface DenseBest {
  readonly step: number;
  readonly top1: number;
}

async function bestDenseStep({ dir }: Parent): Promise<DenseBest | undefined> {
  const scored = (await readMetrics(dir)).flatMap(({ step, ...line }): DenseBest[] => {
    const top1 = line["dense.patchTop1"];
    return typeof top1 === "number" && step > 0 ? [{ step, top1 }] : [];
  });
  return scored.length === 0 ? undefined : scored.reduce((a, b) => (b.top1 > a.top1 ? b : a));
}

function describe({ step }: KeptTeacher, { total, best }: { readonly total: number; readonly best: DenseBest | undefined }): string {
  const which = `the teacher after step ${step} of ${total}`;
  if (best === undefined) return `${which}: patches are still clean after a fifth of a run (DINOv3 took 10 to 20 %)`;
  return `${which}, the nearest that was kept to the best patch k-NN (${(100 * best.top1).toFixed(1)} % after step ${best.step})`;
}

/**
 * Step from which the Gram loss counts: 0 where a teacher is given, else the first time that the moving teacher is copied
 * (DINOv3's `it_load_ema_teacher`); nothing is anchored to weights that have learned nothing.
 */
export function gramStartStep({ gram, stage }: Pick<TrainConfig, "gram" | "stage">): number {
  if (gram.teacher !== null || gram.useEma || stage !== "pretrain") return 0;
  if (gram.updateEverySteps === 0 || gram.maxUpdates === 0) return 0;
  return Math.ceil(Math.max(1, gram.firstUpdateStep) / gram.updateEverySteps) * gram.updateEverySteps;
}

/** Puts the Gram teacher's weights in place. Throws ConfigError where there is none, or one of another network. */
export async function loadGramTeacher(stepper: Stepper, config: Pick<TrainConfig, "gram" | "stage">): Promise<void> {
  const from = config.gram.teacher;
  const flat = stepper.fixed.get("gram");
  const network = stepper.method.fixed.find(({ name }) => name === "gram");
  if (flat === undefined || network === undefined) return;
  if (from === null && gramStartStep(config) > 0) return renewGramTeacher(stepper);
  if (from === null)
    throw new ConfigError(
      "Cannot anchor Gram matrices: there is no Gram teacher; set gram.teacher, begin with a run by --init, or set gram.useEma=true",
      { keyPath: "gram.teacher" },
    );
  const dir = (await findParent(from))?.last.dir ?? from;
  const file = from.endsWith(".safetensors") ? from : join(dir, "teacher.safetensors");
  if ((await stat(file).catch(() => undefined)) === undefined)
    throw new ConfigError(
      `Cannot anchor to the Gram teacher "${from}": there is no "${file}"; give a run folder, one of its checkpoints, or a .safetensors file`,
      { keyPath: "gram.teacher" },
    );
  const { tensors } = await readSafetensors(file);
  const own = new Map([...tensors].filter(([name]) => name.startsWith("backbone.")));
  const mismatches = listMismatches(own, new Map(network.specs.map((s) => [s.name, s.shape] as const)));
  if (mismatches.length > 0)
    throw new ConfigError(
      `Cannot anchor to the Gram teacher "${file}": ${mismatches.join("; ")}; its width, patch size, blocks and registers must be the student's`,
      { keyPath: "gram.teacher" },
    );
  for (const { name } of network.specs) {
    const data = own.get(name)?.data;
    if (data instanceof Float32Array) flat.view(name).set(data);
  }
}

/** Whether the Gram teacher becomes a copy of the moving teacher after `step` (from 1). */
export function isGramUpdateDue({ gram, objective }: Pick<TrainConfig, "gram" | "objective">, step: number): boolean {
  const { useEma, firstUpdateStep: first, updateEverySteps: every, maxUpdates } = gram;
  if (objective.gramWeight === 0 || useEma || every === 0 || step < first || step % every !== 0) return false;
  const before = Math.floor((step - 1) / every) - Math.floor(Math.max(0, first - 1) / every);
  return before < maxUpdates;
}

/** Copies the moving teacher's backbone over the Gram teacher. */
export function renewGramTeacher(stepper: Stepper): void {
  const flat = stepper.fixed.get("gram");
  const network = stepper.method.fixed.find(({ name }) => name === "gram");
  for (const { name } of network?.specs ?? []) flat?.view(name).set(stepper.flats.teacher.view(name));
}
