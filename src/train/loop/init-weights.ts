/** @file Beginning with given weights: the end of an earlier run, whole, or a backbone for new heads. */
import { join } from "node:path";
import { ConfigError, type HostTensor, sameShape } from "../../core/index.ts";
import { isProjection } from "../../methods/index.ts";
import { inflatePatchEmbed } from "../../nn/index.ts";
import { type NamedTensors, readBackbone, readSafetensors, resolveModelPath } from "../../weights/index.ts";
import type { Stepper } from "../stepper.ts";
import { findParent, type Parent } from "./parent.ts";
import { listMismatches, readState } from "./run-state.ts";

/** Goes on where a run ended: student, teacher, optimizer and state. Throws ConfigError for a run of another network. */
export async function continueRun(stepper: Stepper, { last }: Parent): Promise<void> {
  await readState(last.dir, stepper, { only: ["student", "teacher", "optimizer", "method"] });
}

export interface InitOptions {
  readonly allowPartial: boolean;
  readonly note: (line: string) => void;
}

/**
 * Puts the weights of a file, or of a run's teacher, into student and teacher alike. A head that the file has nothing of may be new; of the
 * rest every tensor must be used and none be left over, unless partial weights are allowed. Throws ConfigError with all that do not fit.
 */
export async function loadInit(stepper: Stepper, from: string, { allowPartial, note }: InitOptions): Promise<void> {
  const { file, tensors: found } = await readGiven(from);
  const given = inflateStem(stepper, found, note);
  const statistics = copyStatistics(stepper, given);
  const tensors = new Map([...given].filter(([name]) => !statistics.has(name)));
  const groups = new Set([...tensors.keys()].map(groupOf));
  const isNewAdapter = (name: string): boolean => name.includes(".lora_") && !tensors.has(name);
  const wanted = stepper.specs.filter(({ name }) => groups.has(groupOf(name)) && !isNewAdapter(name));
  const mismatches = listMismatches(tensors, new Map(wanted.map((s) => [s.name, s.shape] as const)));
  if (mismatches.length > 0 && !allowPartial)
    throw new ConfigError(
      `Cannot begin with "${file}": ${mismatches.join("; ")}; choose the model and method of those weights, or take what fits by --allow-partial`,
      { keyPath: "init.from" },
    );
  const used = new Set(stepper.specs.filter((s) => copyInto(stepper, s.name, tensors.get(s.name))).map((s) => s.name));
  const made = stepper.specs.filter((s) => !used.has(s.name)).map((s) => s.name);
  const ignored = [...tensors.keys()].filter((name) => !used.has(name));
  note(
    `Began with ${used.size} of ${stepper.specs.length} tensors of "${file}"${told("new", made)}${told("ignored", ignored)}${statistics.size > 0 ? `; ${statistics.size} running statistics` : ""}`,
  );
}

/**
 * The given weights for pictures of other channels: where the network's patch embedding (a convolutional network's first layer) takes other than
 * three and the given one takes three, it is inflated. Everything else is as it was.
 */
function inflateStem({ specs }: Stepper, given: NamedTensors, note: (line: string) => void): NamedTensors {
  const inflated = specs.flatMap(({ name, shape }): (readonly [string, HostTensor])[] => {
    const tensor = given.get(name);
    const [width, channels = 3, ...patch] = shape;
    if (tensor === undefined || shape.length !== 4 || channels === 3 || !sameShape(tensor.shape, [width ?? 0, 3, ...patch])) return [];
    note(`Patch embedding "${name}" of three channels inflated to ${channels}: each is the mean of the three, times 3 / ${channels}`);
    return [[name, inflatePatchEmbed(tensor, channels)]];
  });
  return inflated.length === 0 ? given : new Map([...given, ...inflated]);
}

/** Copies running statistics of batch norm into every network that keeps them; gives the names that have a place. */
function copyStatistics({ state }: Stepper, given: NamedTensors): ReadonlySet<string> {
  const used = new Set<string>();
  for (const [name, { data }] of given)
    for (const who of ["student", "teacher"]) {
      const view = state.get(`${who}.${name}`);
      if (view === undefined || !(data instanceof Float32Array) || data.length !== view.length) continue;
      view.set(data);
      used.add(name);
    }
  return used;
}

/** "backbone", "dino_head", "ibot_head". */
function groupOf(name: string): string {
  return name.split(".", 1)[0] ?? name;
}

function told(what: string, names: readonly string[]): string {
  if (names.length === 0) return "";
  const counts = new Map<string, number>();
  for (const name of names) counts.set(groupOf(name), (counts.get(groupOf(name)) ?? 0) + 1);
  return `; ${what}: ${[...counts].map(([group, n]) => `${n} of ${group}`).join(", ")}`;
}

interface Given {
  readonly file: string;
  readonly tensors: NamedTensors;
}

/** The tensors by our names: `backbone.*`, and heads where there are any. */
async function readGiven(from: string): Promise<Given> {
  const run = await findParent(from);
  if (run !== undefined) return await readRun(run);
  const own = from.endsWith(".safetensors") ? await readOwn(from) : undefined;
  if (own !== undefined && [...own.tensors.keys()].some((name) => name.startsWith("backbone."))) return own;
  const { tensors, file } = await readBackbone((await resolveModelPath(from)) ?? from);
  return { file, tensors: new Map([...tensors].map(([name, tensor]) => [`backbone.${name}`, tensor])) };
}

/**
 * The teacher of a run (of a distillation the first student's average) with its running statistics of batch norm. Projections to the features
 * of a frozen teacher are no part of a network and stay behind.
 */
async function readRun({ config: { method, distill }, last: { dir } }: Parent): Promise<Given> {
  const { file, tensors } = await readOwn(join(dir, "teacher.safetensors"));
  const state = (await readSafetensors(join(dir, "method.safetensors"))).tensors;
  // whoever only follows has the statistics of the network that it follows
  const whose = `${distill.students[0]?.name ?? (method === "simclr" ? "student" : "teacher")}.`;
  const statistics = [...state].flatMap(([name, tensor]) =>
    name.startsWith(`${whose}backbone.`) ? [[name.slice(whose.length), tensor] as const] : [],
  );
  return { file, tensors: new Map([...[...tensors].filter(([name]) => !isProjection(name)), ...statistics]) };
}

async function readOwn(file: string): Promise<Given> {
  return { file, tensors: (await readSafetensors(file)).tensors };
}

/** Copies one tensor into student and teacher; false where there is none that fits. */
function copyInto(stepper: Stepper, name: string, given: HostTensor | undefined): boolean {
  const data = stepper.flats.params.view(name);
  if (!(given?.data instanceof Float32Array) || given.data.length !== data.length) return false; // shapes of equal names differ only with their sizes
  data.set(given.data);
  stepper.flats.teacher.view(name).set(given.data);
  return true;
}
