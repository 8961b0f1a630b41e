/** @file What a command is, and the help text made from its table. */
import { type Option, type OptionTable, type OptionValues, flag, integer } from "./options.ts";
import { parseArgs } from "./parse-args.ts";
import type { Terminal } from "./terminal.ts";

/** Everything a command gets besides its options. */
export interface CommandContext {
  readonly terminal: Terminal;
  /** Fires at Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

/** A command, ready to run on its arguments. */
export interface Command {
  readonly name: string;
  readonly summary: string;
  readonly help: string;
  /** Reads the arguments, works, returns the exit code. Throws UsageError for bad use. */
  readonly run: (argv: readonly string[], context: CommandContext) => Promise<number>;
  /** Reads the arguments as `run` does and stops there. Throws UsageError for bad use. */
  readonly check: (argv: readonly string[]) => void;
}

/** Options that are shown together. */
export interface OptionGroup {
  readonly title: string;
  readonly names: readonly string[];
}

export interface CommandSpec<T extends OptionTable> {
  readonly name: string;
  readonly summary: string;
  /** A few sentences under the usage line. */
  readonly about?: string;
  readonly examples: readonly string[];
  readonly options: T;
  /** Headings of the help, each with its options in the order they are shown; what is left comes last. */
  readonly groups?: readonly OptionGroup[];
  readonly run: (values: OptionValues<T> & CommonValues, context: CommandContext) => Promise<number>;
}

/** The options every command has, as a command sees them. */
export interface CommonValues {
  readonly json?: true;
  readonly debug?: true;
}

const COMMON: {
  readonly json: Option<true>;
  readonly debug: Option<true>;
  readonly help: Option<true>;
} = {
  json: flag("print one JSON object on stdout and nothing else there"),
  debug: flag("print the stack of an error"),
  help: flag("show this help"),
};

/** Options of every command that computes. */
export const MACHINE: { readonly seed: Option<number>; readonly threads: Option<number> } = {
  seed: integer("N", "seed of every random draw", { min: 0 }),
  threads: integer("N", "threads of the engine; default: the machine's cores", { min: 1 }),
};

/** Lines of options under their headings; one width of the first column for all. */
function optionLines(table: OptionTable, groups: readonly OptionGroup[]): readonly string[] {
  const grouped = new Set(groups.flatMap(({ names }) => names));
  const rest = { title: groups.length === 0 ? "Options" : "Other", names: Object.keys(table).filter((name) => !grouped.has(name)) };
  return [...groups, rest].flatMap(({ title, names }) => [
    title,
    ...linesOf(Object.fromEntries(names.flatMap((name) => (table[name] === undefined ? [] : [[name, table[name]] as const]))), table),
    "",
  ]);
}

const leftOf = (name: string, { placeholder }: Option<unknown>): string => `--${name}${placeholder === "" ? "" : ` ${placeholder}`}`;

function linesOf(shown: OptionTable, table: OptionTable): readonly string[] {
  const rows = Object.entries(shown).map(([name, option]): [string, string] => {
    return [leftOf(name, option), option.kind === "repeated" ? `${option.help} (repeatable)` : option.help];
  });
  const wide = Math.min(30, Math.max(...Object.entries(table).map(([name, option]) => leftOf(name, option).length)));
  return rows.map(([left, right]) =>
    left.length > wide ? `  ${left}\n  ${" ".repeat(wide)}  ${right}` : `  ${left.padEnd(wide)}  ${right}`,
  );
}

/** The help of a command: summary, options, examples. */
export function helpOf(spec: {
  readonly name: string;
  readonly summary: string;
  readonly about?: string;
  readonly examples: readonly string[];
  readonly options: OptionTable;
  readonly groups?: readonly OptionGroup[];
}): string {
  const about = spec.about === undefined ? [] : [spec.about, ""];
  return [
    `tricera ${spec.name}: ${spec.summary}`,
    "",
    ...about,
    ...optionLines({ ...spec.options, ...COMMON }, spec.groups ?? []),
    "Examples",
    ...spec.examples.map((line) => `  ${line}`),
    "",
  ].join("\n");
}

/** Makes a command of its table. `--help` anywhere among its options shows the help instead of running. */
export function defineCommand<T extends OptionTable>(spec: CommandSpec<T>): Command {
  const help = helpOf(spec);
  const read = (argv: readonly string[]): unknown => parseArgs(argv, { ...spec.options, ...COMMON });
  const run = async (argv: readonly string[], context: CommandContext): Promise<number> => {
    if (argv.includes("--help") || argv.includes("-h")) {
      context.terminal.out(help);
      return 0;
    }
    // the table is spec.options and COMMON, which is what the type says
    return spec.run(read(argv) as OptionValues<T> & CommonValues, context);
  };
  return { name: spec.name, summary: spec.summary, help, run, check: (argv) => void read(argv) };
}
