/** @file What a failure of the disk under the cache means for people. */
import { PlatformError } from "../../core/index.ts";

const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
const CLOSED = new Set(["EACCES", "EPERM", "EROFS", "ENOTDIR"]);

/** An error of the file system as PlatformError; any other error as it is. */
export function diskError(error: unknown, cacheDir: string): unknown {
  const code = error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
  if (FULL.has(code))
    return new PlatformError(
      `Cannot write to the cache "${cacheDir}": the disk is full; free some space (\`tricera models cache\` shows what could go) or set TRICERA_CACHE to another disk, then pull again: it goes on where it stopped`,
      { cause: error },
    );
  if (CLOSED.has(code))
    return new PlatformError(
      `Cannot write to the cache "${cacheDir}": it cannot be written to (${code}); set TRICERA_CACHE to a folder of yours`,
      { cause: error },
    );
  return error;
}
