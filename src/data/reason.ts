/** @file Failed system calls in words. */

/** The reason of a failed system call in words. */
export function reasonOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const words: Readonly<Record<string, string>> = {
    ENOENT: "it does not exist",
    EACCES: "you have no right to read it",
    EPERM: "you have no right to read it",
    ELOOP: "its links lead in a circle",
    ENOTDIR: "it is not a folder",
  };
  return words[code] ?? (error instanceof Error ? error.message : String(error));
}
