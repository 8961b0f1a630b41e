/** @file Options of a command as a table: how each is written, read and explained. */
import { nameHint, UsageError } from "../core/index.ts";

/** One option. `read` turns its text into a value or throws UsageError; flags take no text. */
export interface Option<T> {
  readonly kind: "flag" | "value" | "repeated";
  /** How the value is called in the help: `FILE`, `N`; empty for flags. */
  readonly placeholder: string;
  readonly help: string;
  readonly read: (text: string, name: string) => T;
}

/** A table of options by their names without dashes. */
export type OptionTable = Readonly<Record<string, Option<unknown>>>;

/** What was given on the command line, by option name. */
export type OptionValues<T extends OptionTable> = {
  readonly [K in keyof T]?: T[K] extends Option<infer V> ? V : never;
};

function refuse(name: string, text: string, wanted: string): UsageError {
  return new UsageError(`Cannot use --${name} "${text}": wanted ${wanted}; change the value`);
}

export function flag(help: string): Option<true> {
  return { kind: "flag", placeholder: "", help, read: () => true };
}

export function text(placeholder: string, help: string): Option<string> {
  const read = (value: string, name: string): string => {
    if (value === "") throw refuse(name, value, "a text that is not empty");
    return value;
  };
  return { kind: "value", placeholder, help, read };
}

export interface NumberLimits {
  readonly min?: number;
  /** The value must be larger than this. */
  readonly above?: number;
  readonly max?: number;
}

function saysLimits({ min, above, max }: NumberLimits): string {
  const parts = [
    ...(min === undefined ? [] : [`of at least ${min}`]),
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(max === undefined ? [] : [`up to ${max}`]),
  ];
  return parts.length === 0 ? "" : ` ${parts.join(" and ")}`;
}

function readNumber(value: string, within: NumberLimits): number | undefined {
  const { min = -Infinity, above = -Infinity, max = Infinity } = within;
  const n = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(value) ? Number(value) : NaN;
  return Number.isFinite(n) && n >= min && n > above && n <= max ? n : undefined;
}

export function number(placeholder: string, help: string, limits: NumberLimits = {}): Option<number> {
  const read = (value: string, name: string): number => {
    const n = readNumber(value, limits);
    if (n === undefined) throw refuse(name, value, `a number${saysLimits(limits)}`);
    return n;
  };
  return { kind: "value", placeholder, help, read };
}

export function integer(placeholder: string, help: string, limits: NumberLimits = {}): Option<number> {
  const read = (value: string, name: string): number => {
    const n = readNumber(value, limits);
    if (n === undefined || !Number.isSafeInteger(n)) throw refuse(name, value, `a whole number${saysLimits(limits)}`);
    return n;
  };
  return { kind: "value", placeholder, help, read };
}

/** One of a few words. */
export function choice<const T extends string>(words: readonly T[], help: string): Option<T> {
  const read = (value: string, name: string): T => {
    const found = words.find((word) => word === value);
    if (found === undefined)
      throw new UsageError(`Cannot use --${name} "${value}": it takes ${words.join(", ")}; ${nameHint(value, words)}`);
    return found;
  };
  return { kind: "value", placeholder: words.join("|"), help, read };
}

/** Whole numbers with commas between them: `10,20,100`. */
export function integers(placeholder: string, help: string, limits: NumberLimits = {}): Option<readonly number[]> {
  const read = (value: string, name: string): readonly number[] =>
    value.split(",").map((part) => {
      const n = readNumber(part.trim(), limits);
      if (n === undefined || !Number.isSafeInteger(n))
        throw refuse(name, value, `whole numbers${saysLimits(limits)} with commas between them`);
      return n;
    });
  return { kind: "value", placeholder, help, read };
}

/** A text that may be given several times. */
export function texts(placeholder: string, help: string): Option<readonly string[]> {
  return { kind: "repeated", placeholder, help, read: (value) => [value] };
}
