/** @file How an error reaches a person: the message, the hint on a line of its own, the exit code. */
import { ConfigError, InternalError, UsageError } from "../core/index.ts";

/** 2 for bad use of the command line or configuration, 130 after Ctrl-C, 1 for everything else. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError || error instanceof ConfigError) return 2;
  return isAbort(error) ? 130 : 1;
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

function causes(error: Error): readonly string[] {
  const lines: string[] = [];
  for (let at: unknown = error.cause; at instanceof Error && lines.length < 5; at = at.cause)
    if (!error.message.includes(at.message)) lines.push(`  because: ${at.message}`);
  return lines;
}

/** The text for stderr: what happened, what to do (the part after the last semicolon), and with `debug` the stack. */
export function formatError(error: unknown, options: { readonly debug: boolean }): string {
  if (!(error instanceof Error)) return `Error: ${String(error)}\n`;
  if (isAbort(error)) return "Stopped.\n";
  const cut = error.message.lastIndexOf("; ");
  const ours = error.message.startsWith("Cannot ") && cut > 0;
  const message = ours ? error.message.slice(0, cut) : error.message;
  const hint = ours ? [`Hint: ${error.message.slice(cut + 2)}`] : [];
  const bug = error instanceof InternalError ? ["This is a bug of Tricera; please report it with the output of --debug"] : [];
  const stack = options.debug ? [error.stack ?? "", ...(error.cause instanceof Error ? [`caused by ${error.cause.stack ?? ""}`] : [])] : [];
  return [`Error: ${message}`, ...causes(error), ...hint, ...bug, ...stack, ""].join("\n");
}
