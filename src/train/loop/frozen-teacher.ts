/** @file The frozen teacher of a distillation: a run with heads, its networks, and what students inherit of its configuration. */
import { join } from "node:path";
import { ConfigError } from "../../core/index.ts";
import { readSafetensors } from "../../weights/index.ts";
import { gridSideOf } from "../../nn/index.ts";
import type { ModelConfig, TrainConfig, UserConfig } from "../config/index.ts";
import type { Stepper } from "../stepper.ts";
import { backboneOf, watchedConfig } from "./method-config.ts";
import { findParent, type Parent } from "./parent.ts";
import { listMismatches } from "./run-state.ts";

/** The run whose last teacher is the frozen teacher. Throws ConfigError where there is none that can teach. */
export async function needTeacher(from: string): Promise<Parent> {
  const fail = (state: string, todo: string): ConfigError =>
    new ConfigError(`Cannot distill from "${from}": ${state}; ${todo}`, { keyPath: "distill.teacher" });
  const parent = await findParent(from);
  if (parent === undefined)
    throw fail("it is no run folder", "give the --out of a run: a teacher needs the heads it was trained with, which exported models lack");
  if (parent.config.method === "simclr") throw fail("SimCLR has no prototypes to teach", "give a run of dino, dinov2 or dinov3");
  if (parent.config.distill.students.length > 1)
    throw fail("it trained several students", "train from the run that taught them, or distill one student first");
  return parent;
}

/** What a distillation takes over of its teacher's run. */
export function inheritedOf(parent: Parent): UserConfig {
  const config = watchedConfig(parent.config); // a distilled run teaches by its student
  const { method, model, crops, augment, mask, head, objective } = config;
  const { centering, ibotWeight, koleoWeight, studentTemp, teacherTemp } = objective;
  return {
    method,
    model: { ...model, dropPath: 0 },
    crops: { ...crops, sizes: [] },
    augment,
    mask,
    head,
    objective: { centering, ibotWeight, koleoWeight, studentTemp, teacherTemp, warmupTeacherTemp: teacherTemp, gramWeight: 0 },
    optim: { layerDecay: 1, patchEmbedLrScale: 1 },
  };
}

/** Puts the frozen teacher's weights and centres in place. Throws ConfigError for a teacher that is not the configuration's. */
export async function loadFrozenTeacher(stepper: Stepper, from: string | null): Promise<void> {
  const network = stepper.method.fixed.find(({ name }) => name === "teacher");
  const flat = stepper.fixed.get("teacher");
  if (network === undefined || flat === undefined || from === null) return;
  const { last } = await needTeacher(from);
  const file = join(last.dir, "teacher.safetensors");
  const { tensors } = await readSafetensors(file);
  const mismatches = listMismatches(tensors, new Map(network.specs.map((s) => [s.name, s.shape] as const)));
  if (mismatches.length > 0)
    throw new ConfigError(
      `Cannot distill from "${file}": ${mismatches.join("; ")}; keep the teacher's model and head in the configuration`,
      {
        keyPath: "distill.teacher",
      },
    );
  for (const { name } of network.specs) {
    const data = tensors.get(name)?.data;
    if (data instanceof Float32Array) flat.view(name).set(data);
  }
  const method = (await readSafetensors(join(last.dir, "method.safetensors"))).tensors;
  for (const [name, view] of stepper.state) {
    const data = method.get(name)?.data;
    if (data instanceof Float32Array && data.length === view.length) view.set(data);
  }
}

/** How each student meets its teacher, in words: heads of their own make widths free, and maps of another grid are interpolated. */
export function describeStudents({
  model,
  crops,
  distill: { students },
}: Pick<TrainConfig, "model" | "crops" | "distill">): readonly string[] {
  const grid = (of: ModelConfig): number => gridSideOf(backboneOf(of), crops.globalSizePx);
  return students.map((student) => {
    const [own, to] = [grid(student.model), grid(model)];
    const wider = student.model.width > model.width ? `, wider than its teacher's ${model.width}` : `, its teacher's are ${model.width}`;
    const maps = own === to ? "" : `; its patches are brought from a grid of ${own} to the teacher's ${to} by bicubic interpolation`;
    return `Student ${student.name}: features of ${student.model.width}${wider}; heads of its own project them to the teacher's prototypes${maps}`;
  });
}
