/** @file The command line: finds the command, runs it, turns errors into exit codes. */
import { readFile } from "node:fs/promises";
import { nameHint, UsageError } from "../core/index.ts";
import type { Command, CommandContext } from "./command.ts";
import { COMMANDS } from "./commands/index.ts";
import { exitCodeOf, formatError } from "./print-error.ts";
import { processTerminal, type Terminal } from "./terminal.ts";

function overview(): string {
  const wide = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    "tricera: train, evaluate and use DINO vision transformers on your own images",
    "",
    "Commands",
    ...COMMANDS.map(({ name, summary }) => `  ${name.padEnd(wide)}  ${summary}`),
    "",
    "`tricera COMMAND --help` shows a command's options and examples. `tricera --version` prints the version.",
    "",
    "Examples",
    "  tricera train --data ~/photos --out runs/first",
    "  tricera embed --model runs/first --data ~/photos --out features.safetensors",
    "  tricera doctor",
    "",
  ].join("\n");
}

/** The command whose words begin the arguments, longest name first (`eval knn` before `eval`). */
export function findCommand(argv: readonly string[]): {
  readonly command: Command;
  readonly rest: readonly string[];
} {
  const words = argv.slice(0, 2);
  for (let n = words.length; n > 0; n--) {
    const command = COMMANDS.find(({ name }) => name === words.slice(0, n).join(" "));
    if (command !== undefined) return { command, rest: argv.slice(n) };
  }
  const said = argv.slice(0, COMMANDS.some(({ name }) => name.startsWith(`${words[0]} `)) ? 2 : 1).join(" ");
  throw new UsageError(
    `Cannot run "${said}": there is no such command; ${nameHint(
      said,
      COMMANDS.map(({ name }) => name),
    )}`,
  );
}

async function version(): Promise<string> {
  const packageFile = new URL("../../package.json", import.meta.url);
  const manifest: unknown = JSON.parse(await readFile(packageFile, "utf8"));
  return typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "unknown";
}

async function dispatch(argv: readonly string[], context: CommandContext): Promise<number> {
  const [first] = argv;
  if (first === undefined || first === "--help" || first === "-h" || first === "help") {
    context.terminal.out(overview());
    return first === undefined ? 2 : 0;
  }
  if (first === "--version") {
    context.terminal.out(`${await version()}\n`);
    return 0;
  }
  const group = COMMANDS.filter(({ name }) => name.startsWith(`${first} `));
  if (group.length > 0 && (argv[1] === undefined || argv[1] === "--help" || argv[1] === "-h")) {
    context.terminal.out(group.map(({ help }) => help).join("\n"));
    return argv[1] === undefined ? 2 : 0;
  }
  const { command, rest } = findCommand(argv);
  return command.run(rest, context);
}

/** Runs one command line (without `node` and the program's name) and returns its exit code; errors are printed, never thrown. */
export async function main(
  argv: readonly string[],
  options: { readonly terminal?: Terminal; readonly signal?: AbortSignal } = {},
): Promise<number> {
  const { terminal = processTerminal(), signal = new AbortController().signal } = options;
  try {
    return await dispatch(argv, { terminal, signal });
  } catch (error) {
    const text = formatError(error, { debug: argv.includes("--debug") });
    terminal.err(text);
    if (argv.includes("--json")) terminal.out(`${JSON.stringify({ error: error instanceof Error ? error.message : String(error) })}\n`);
    return exitCodeOf(error);
  }
}

/** Runs the command line of this process: Ctrl-C and SIGTERM ask the command to stop, a second one stops it at once. */
export async function runProcess(argv: readonly string[]): Promise<void> {
  const stop = new AbortController();
  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(130);
    process.stderr.write("\nStopping after the step that runs; press Ctrl-C again to stop at once.\n");
    stop.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // a reader that closed the pipe (`| head`) wants no more
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  process.exitCode = await main(argv, { signal: stop.signal });
  process.off("SIGINT", onSignal);
  process.off("SIGTERM", onSignal);
}
