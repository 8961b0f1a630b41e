/** @file The argument parser: `--name value`, `--name=value`, flags, `--` and nothing abbreviated; anything else is an error that offers the nearest name. */
import { nameHint, UsageError } from "../core/index.ts";
import type { Option, OptionTable, OptionValues } from "./options.ts";

/** A token that begins an option: `-5` and `-` do not. */
function isOption(token: string): boolean {
  return /^--?[a-z_]/i.test(token);
}

function lookUp(table: OptionTable, name: string, written: string): Option<unknown> {
  const option = Object.hasOwn(table, name) ? table[name] : undefined;
  if (option !== undefined) return option;
  const names = Object.keys(table);
  const camel = name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`).replaceAll("_", "-");
  const hint = names.includes(camel) ? `did you mean "--${camel}"?` : nameHint(name, names).replace(/"([^"]+)"/, '"--$1"');
  throw new UsageError(`Cannot use option "${written}": there is no such option; ${hint}`);
}

/** A value as the next token, or after `=`. An option is never taken for a value. */
function valueOf(option: Option<unknown>, rest: string[], options: { readonly name: string; readonly inline: string | undefined }): string {
  const { name, inline } = options;
  if (option.kind === "flag") {
    if (inline !== undefined) throw new UsageError(`Cannot use --${name}="${inline}": it takes no value; write --${name}`);
    return "";
  }
  if (inline !== undefined) return inline;
  const next = rest[0];
  if (next === undefined || isOption(next) || next === "--")
    throw new UsageError(
      `Cannot use --${name}: its value is missing; write --${name} ${option.placeholder} (--${name}=... where the value begins with a dash)`,
    );
  rest.shift();
  return next;
}

/** The option that a token names, and its value after `=` if there is one. */
function optionOf(
  token: string,
  rest: readonly string[],
  table: OptionTable,
): { readonly option: Option<unknown>; readonly name: string; readonly inline: string | undefined } {
  if (!isOption(token) || token === "--")
    throw new UsageError(
      `Cannot use argument "${token === "--" ? (rest[0] ?? "") : token}": this command takes options only; put a value after its --option`,
    );
  const [, name = "", inline] = /^--?([^=]+)(?:=(.*))?$/s.exec(token) ?? [];
  const written = token.split("=", 1)[0] ?? token;
  const isLong = written.startsWith("--");
  const option = lookUp(table, isLong || name.length > 1 ? name : `-${name}`, written);
  if (!isLong) throw new UsageError(`Cannot use option "${written}": options have two dashes; write "--${name}"`);
  return { option, name, inline };
}

/**
 * Reads the arguments of one command. Throws UsageError for an unknown option (with the nearest name), a missing or wrong value,
 * an option given twice that takes one value, and for anything that is not an option.
 */
export function parseArgs<T extends OptionTable>(argv: readonly string[], table: T): OptionValues<T> {
  const values: Record<string, unknown> = {};
  const rest = [...argv];
  for (let token = rest.shift(); token !== undefined; token = rest.shift()) {
    if (token === "--" && rest.length === 0) break;
    const { option, name, inline } = optionOf(token, rest, table);
    const value = option.read(valueOf(option, rest, { name, inline }), name);
    const before = values[name];
    if (before !== undefined && option.kind === "value") throw new UsageError(`Cannot use --${name} twice: it takes one value; keep one`);
    const earlier: readonly unknown[] = Array.isArray(before) ? before : [];
    values[name] = Array.isArray(value) ? [...earlier, ...(value as readonly unknown[])] : value; // as: isArray says any[]
  }
  // every value came from the option of its own name in `table`, which is what OptionValues says
  return values as OptionValues<T>;
}

/** Throws UsageError when a needed option is missing. */
export function need<T>(value: T | undefined, name: string, why: string): T {
  if (value === undefined) throw new UsageError(`Cannot run without --${name}: ${why}; add --${name}`);
  return value;
}

/** Throws UsageError when more than one of some options is given. */
export function atMostOne(values: Readonly<Record<string, unknown>>, names: readonly string[]): void {
  const given = names.filter((name) => values[name] !== undefined).map((name) => `--${name}`);
  if (given.length > 1) throw new UsageError(`Cannot use ${given.join(" and ")} together: only one of them can hold; keep one`);
}
