/** @file What to say when a file of a run cannot be written. */
import { PlatformError } from "../../core/index.ts";

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** The error of a write that failed, with what to do; a full disk is named as such. */
export function writeError(what: string, error: unknown): Error {
  const code = codeOf(error);
  if (code === "ENOSPC" || code === "EDQUOT")
    return new PlatformError(
      `Cannot write ${what}: the disk is full; free some space and go on with --resume (what was saved before is untouched)`,
      { cause: error },
    );
  if (code === "EACCES" || code === "EPERM" || code === "EROFS")
    return new PlatformError(`Cannot write ${what}: it is not writable (${code}); change its permissions or choose another --out`, {
      cause: error,
    });
  return error instanceof Error ? error : new PlatformError(`Cannot write ${what}: ${String(error)}; try again`);
}
