/** @file How much memory a run may count on. */
import { totalmem } from "node:os";

/** Bytes of the machine, or of the container around this process (cgroup) where that has less; `limit` 0 says that there is none. */
export function usableMemory(total: number = totalmem(), limit: number = process.constrainedMemory()): number {
  return limit > 0 ? Math.min(total, limit) : total;
}
