/** @file The one word that `models info`, `pull` and `cache` take without an option before it. */
import type { Command } from "../command.ts";
import type { OptionTable } from "../options.ts";

/**
 * Reads the first bare word as `--name`'s value, wherever it stands: `pull --yes ID` and `pull ID --yes` are the same. The value of
 * an option that takes one is no bare word. A second bare word is given to the parser, which refuses it.
 */
export function nameBareWord(
  argv: readonly string[],
  { name, options }: { readonly name: string; readonly options: OptionTable },
): string[] {
  const rest = [...argv];
  for (let i = 0; i < rest.length; i++) {
    const word = rest[i] ?? "";
    if (!word.startsWith("-")) {
      rest[i] = `--${name}=${word}`;
      return rest;
    }
    const option = Object.hasOwn(options, word.slice(2)) ? options[word.slice(2)] : undefined;
    if (word.startsWith("--") && option !== undefined && option.kind !== "flag") i++;
  }
  return rest;
}

/** A command whose option `name` may be given as a bare word. */
export function withBareWord(command: Command, word: { readonly name: string; readonly options: OptionTable }): Command {
  return {
    ...command,
    run: (argv, context) => command.run(nameBareWord(argv, word), context),
    check: (argv) => command.check(nameBareWord(argv, word)),
  };
}
