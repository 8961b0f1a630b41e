import { totalmem } from "node:os";
import { expect, test } from "vitest";
import { usableMemory } from "./usable-memory.ts";

test("usableMemory() is the container's where it has less than the machine, else the machine's", () => {
  const [machine, container] = [64 * 2 ** 30, 8 * 2 ** 30];
  expect(usableMemory(machine, container)).toBe(container);
  expect(usableMemory(machine, 0)).toBe(machine);
  expect(usableMemory(machine, 2 ** 64)).toBe(machine); // what Linux gives for "no limit"
  expect(usableMemory()).toBeGreaterThan(2 ** 28);
  expect(usableMemory()).toBeLessThanOrEqual(totalmem());
});
