/** @file The frozen teacher of a distillation: its networks, and what students inherit of a run with heads. */
import { join } from "node:path";
import { ConfigError } from "../../core/index.ts";
import { type NamedTensors, readSafetensors } from "../../weights/index.ts";
import { gridSideOf } from "../../nn/index.ts";
import type { ModelConfig, TrainConfig, UserConfig } from "../config/index.ts";
import type { Stepper } from "../stepper.ts";
import { backboneOf, watchedConfig } from "./networks.ts";
import type { Parent } from "./parent.ts";
import { listMismatches } from "./run-state.ts";
import { openTeacher } from "./teacher-kind.ts";

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

/** Puts the frozen teacher's weights (and, where it has heads, its centres) in place. Throws ConfigError for a teacher that is not the configuration's. */
export async function loadFrozenTeacher(stepper: Stepper, { teacher: from, objective }: TrainConfig["distill"]): Promise<void> {
  const network = stepper.method.fixed.find(({ name }) => name === "teacher");
  const flat = stepper.fixed.get("teacher");
  if (network === undefined || flat === undefined || from === null) return;
  const given = await readTeacher(from, objective);
  const statistics = new Set(
    [...stepper.state.keys()].flatMap((key) => (key.startsWith("teacher.") ? [key.slice("teacher.".length)] : [])),
  );
  const own = new Map([...given.tensors].filter(([name]) => !statistics.has(name)));
  const mismatches = listMismatches(own, new Map(network.specs.map((s) => [s.name, s.shape] as const)));
  if (mismatches.length > 0)
    throw new ConfigError(
      `Cannot distill from "${given.file}": ${mismatches.join("; ")}; keep the teacher's model and head in the configuration`,
      { keyPath: "distill.teacher" },
    );
  for (const { name } of network.specs) {
    const data = own.get(name)?.data;
    if (data instanceof Float32Array) flat.view(name).set(data);
  }
  for (const [name, view] of stepper.state) {
    const data = given.state.get(name)?.data;
    if (data instanceof Float32Array && data.length === view.length) view.set(data);
  }
}

interface GivenTeacher {
  readonly file: string;
  /** By the names of the teacher's network. */
  readonly tensors: NamedTensors;
  /** By the names of the step's state. */
  readonly state: NamedTensors;
}

async function readTeacher(from: string, objective: TrainConfig["distill"]["objective"]): Promise<GivenTeacher> {
  const teacher = await openTeacher(from, objective);
  if (teacher.objective === "prototypes") {
    const { dir } = teacher.parent.last;
    const file = join(dir, "teacher.safetensors");
    return {
      file,
      tensors: (await readSafetensors(file)).tensors,
      state: (await readSafetensors(join(dir, "method.safetensors"))).tensors,
    };
  }
  const named = (prefix: string): NamedTensors => new Map([...teacher.backbone.tensors].map(([name, tensor]) => [prefix + name, tensor]));
  return { file: teacher.backbone.file, tensors: named("backbone."), state: named("teacher.backbone.") };
}

/** How each student meets its teacher, in words: its own layers make widths free, and maps of another grid are interpolated. */
export function describeStudents({
  model,
  crops,
  distill: { students, objective },
}: Pick<TrainConfig, "model" | "crops" | "distill">): readonly string[] {
  const grid = (of: ModelConfig): number => gridSideOf(backboneOf(of), crops.globalSizePx);
  const byFeatures = objective === "features";
  return students.map(({ name, model: { width, ...rest } }) => {
    const [own, to] = [grid({ ...rest, width }), grid(model)];
    const wider = width > model.width ? `, wider than its teacher's ${model.width}` : `, its teacher's are ${model.width}`;
    const how = byFeatures
      ? `a linear layer ${width > model.width ? "reduces" : "brings"} them to ${model.width}, and is left out of what is exported`
      : "heads of its own project them to the teacher's prototypes";
    const kernel = byFeatures ? "bilinear" : "bicubic";
    const maps = own === to ? "" : `; its patches are brought from a grid of ${own} to the teacher's ${to} by ${kernel} interpolation`;
    return `Student ${name}: features of ${width}${wider}; ${how}${maps}`;
  });
}
