/** @file The time from the start of a process to something that it prints. */
import { spawn } from "node:child_process";

export interface Seen {
  readonly ms: number;
  /** What matched, with its groups. */
  readonly match: RegExpExecArray;
}

/** From spawn to the first output that `seen` matches; the process is stopped then. Rejects where it ends before. */
export function timeUntil(seen: RegExp, command: string, args: readonly string[], { cwd }: { readonly cwd?: string } = {}): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(command, [...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    let found: Seen | undefined;
    const read = (chunk: Buffer): void => {
      text += String(chunk);
      const match = found === undefined ? seen.exec(text) : null;
      if (match === null) return;
      found = { ms: performance.now() - started, match };
      child.kill("SIGKILL");
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.on("error", reject);
    child.on("close", () => {
      if (found === undefined) reject(new Error(`Cannot time ${command}: it ended before; it said:\n${text}`));
      else resolve(found);
    });
  });
}
