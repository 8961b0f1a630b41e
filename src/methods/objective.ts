/** @file An objective as a method composes it: what it asks of the teacher, how targets are made, what the student is held to. */
import type { TypedArray } from "../core/index.ts";
import type { Builder, Tensor } from "../engine/trace/index.ts";
import type { BackboneOptions, Params, ParamSpec } from "../nn/index.ts";
import type { CropGroup } from "./crop-groups.ts";
import type { Cut, DrawOptions } from "./method.ts";
import type { StateThread } from "./state-thread.ts";

/** One network at work in one traced part. */
export interface Network {
  readonly builder: Builder;
  readonly params: Params;
  readonly state: StateThread;
  /** Images of a micro-batch. */
  readonly b: number;
}

/** The final-normed features of a resolution group's crops, crop-major. */
export interface Group extends CropGroup {
  /** Class tokens `[count·b, d]`. */
  readonly cls: Tensor;
  /** Patch tokens `[count·b, p, d]`, where an objective wants them. */
  readonly patches: Tensor | undefined;
}

/** A part of the loss: reported as `loss.NAME`, and added times `weight` (1). */
export interface Term {
  readonly name: string;
  readonly value: Tensor;
  readonly weight?: number | Tensor;
}

/** What the backbone is given beside a group's crops. */
export type View = Omit<BackboneOptions, "config" | "patches">;

export interface Objective {
  readonly name: string;
  /** Parameters of its head, in student and teacher. */
  readonly specs: readonly ParamSpec[];
  /** Running statistics of its head, in student and teacher alike. */
  readonly headState: readonly ParamSpec[];
  /** What it keeps from step to step: a centre. */
  readonly state: readonly ParamSpec[];
  /** Whether patch tokens of the global crops are wanted, of the teacher and of the student. */
  readonly wantsPatches: boolean;
  /** Batch norm joins the rows of all groups: they run together. */
  readonly joinsGroups: boolean;
  /** Values it draws, feeds or hands over, and how they are cut. */
  readonly cuts: readonly (readonly [string, Cut])[];
  /** Its random inputs of a step. */
  readonly draw: (options: DrawOptions) => Iterable<readonly [string, TypedArray]>;
  /** What the student's backbone sees of a group: masked patches. */
  readonly view: (group: CropGroup, network: Pick<Network, "builder" | "b">) => View;
  /** Gives out what targets are made of, for one micro-batch of global crops. */
  readonly teacher: (globals: Group, network: Network) => void;
  /** Makes targets of the whole batch; `temp` is the teacher's temperature. */
  readonly targets: (builder: Builder, temp: Tensor) => void;
  /** Its terms for groups that run together. */
  readonly student: (groups: readonly Group[], network: Network) => readonly Term[];
}

/** What an objective leaves out. */
export const NOTHING: Omit<Objective, "name" | "student"> = {
  specs: [],
  headState: [],
  state: [],
  wantsPatches: false,
  joinsGroups: false,
  cuts: [],
  draw: () => [],
  view: () => ({}),
  teacher: () => undefined,
  targets: () => undefined,
};
