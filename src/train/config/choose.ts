/** @file How a value comes to be: the user's own, or a rule's with its reason. Every value passes here, so every value has a reason. */
import type { MethodName } from "./types.ts";

/** A derived value and why. */
export interface Because<T> {
  readonly value: T;
  readonly reason: string;
}

export function because<T>(value: T, reason: string): Because<T> {
  return { value, reason };
}

/** Methods as their papers call themselves. */
export const METHOD_TITLES: { readonly [M in MethodName]: string } = {
  dino: "DINO",
  dinov2: "DINOv2",
  dinov3: "DINOv3",
  simclr: "SimCLR",
};

/** The value of a method's published training script; DINO's where no other is named. */
export function published<T>(value: T, method: MethodName = "dino"): Because<T> {
  return { value, reason: `${METHOD_TITLES[method]}'s published default` };
}

/** Below this many images the profile for small data is used. */
export const SMALL_DATA = 100_000;

export const SET_BY_YOU = "set by you";
/** Why a stage has the values of the run that it goes on from. */
export const AS_BEFORE = "as in the run it goes on from";

/** Settles the keys of one section. */
export interface Chooser<Section extends object> {
  <K extends keyof Section & string>(key: K, rule: () => Because<Section[K]>): Section[K];
  /** True when the user set this key. */
  isSet(key: keyof Section & string): boolean;
}

type Part<Section extends object> = { readonly [K in keyof Section]?: Section[K] | undefined };

/** A chooser of one section that writes reasons as `section.key` into `reasons`. The user's values win. */
export function makeChooser<Section extends object>(
  user: Part<Section> | undefined,
  options: { readonly section: string; readonly reasons: Record<string, string> },
): Chooser<Section> {
  const { section, reasons } = options;
  const choose = <K extends keyof Section & string>(key: K, rule: () => Because<Section[K]>): Section[K] => {
    const own = user?.[key];
    const settled = own === undefined ? rule() : because(own, SET_BY_YOU);
    reasons[section === "" ? key : `${section}.${key}`] = settled.reason;
    return settled.value;
  };
  return Object.assign(choose, {
    isSet: (key: keyof Section & string): boolean => user?.[key] !== undefined,
  });
}

/** A chooser whose rules still give values (every key has one) and whose reason is that nothing comes of them. */
export function unused<Section extends object>(choose: Chooser<Section>, reason: string | undefined): Chooser<Section> {
  if (reason === undefined) return choose;
  const idle = <K extends keyof Section & string>(key: K, rule: () => Because<Section[K]>): Section[K] =>
    choose(key, () => because(rule().value, reason));
  return Object.assign(idle, { isSet: (key: keyof Section & string): boolean => choose.isSet(key) });
}

/** A chooser that prefers the values of `base` to the rules; the user's still win. */
export function inheriting<Section extends object>(
  choose: Chooser<Section>,
  base: Part<Section> | undefined,
  reason: string = AS_BEFORE,
): Chooser<Section> {
  if (base === undefined) return choose;
  const inherit = <K extends keyof Section & string>(key: K, rule: () => Because<Section[K]>): Section[K] => {
    const own = base[key];
    return choose(key, () => (own === undefined ? rule() : because(own, reason)));
  };
  return Object.assign(inherit, { isSet: (key: keyof Section & string): boolean => choose.isSet(key) });
}
