/** @file How a value comes to be: the user's own, or a rule's with its reason. Every value passes here, so every value has a reason. */

/** A derived value and why. */
export interface Because<T> {
  readonly value: T;
  readonly reason: string;
}

export function because<T>(value: T, reason: string): Because<T> {
  return { value, reason };
}

/** The value of DINO's published training script. */
export function published<T>(value: T): Because<T> {
  return { value, reason: "DINO's published default" };
}

/** Below this many images the profile for small data is used. */
export const SMALL_DATA = 100_000;

export const SET_BY_YOU = "set by you";

/** Settles the keys of one section. */
export interface Chooser<Section extends object> {
  <K extends keyof Section & string>(key: K, rule: () => Because<Section[K]>): Section[K];
  /** True when the user set this key. */
  isSet(key: keyof Section & string): boolean;
}

/** A chooser of one section that writes reasons as `section.key` into `reasons`. The user's values win. */
export function makeChooser<Section extends object>(
  user: { readonly [K in keyof Section]?: Section[K] | undefined } | undefined,
  options: { readonly section: string; readonly reasons: Record<string, string> },
): Chooser<Section> {
  const { section, reasons } = options;
  const choose = <K extends keyof Section & string>(key: K, rule: () => Because<Section[K]>): Section[K] => {
    const own = user?.[key];
    const settled = own === undefined ? rule() : because(own, SET_BY_YOU);
    reasons[`${section}.${key}`] = settled.reason;
    return settled.value;
  };
  return Object.assign(choose, {
    isSet: (key: keyof Section & string): boolean => user?.[key] !== undefined,
  });
}
