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

export interface CommandSpec<T extends OptionTable> {
  readonly name: string;
  readonly summary: string;
  /** A few sentences under the usage line. */
  readonly about?: string;
  readonly examples: readonly string[];
  readonly options: T;
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

function optionLines(table: OptionTable): readonly string[] {
  const rows = Object.entries(table).map(([name, option]): [string, string] => {
    const placeholder = option.placeholder === "" ? "" : ` ${option.placeholder}`;
    return [`--${name}${placeholder}`, option.kind === "repeated" ? `${option.help} (repeatable)` : option.help];
  });
  const wide = Math.min(30, Math.max(...rows.map(([left]) => left.length)));
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
}): string {
  const about = spec.about === undefined ? [] : [spec.about, ""];
  return [
    `tricera ${spec.name}: ${spec.summary}`,
    "",
    ...about,
    "Options",
    ...optionLines({ ...spec.options, ...COMMON }),
    "",
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
