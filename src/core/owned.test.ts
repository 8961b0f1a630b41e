import { expect, test } from "vitest";
import { Owned } from "./owned.ts";

test("Owned gives up everything once, the last first, whatever one of them throws", () => {
  const seen: string[] = [];
  const owned = new Owned();
  owned.use({ [Symbol.dispose]: () => void seen.push("first") });
  owned.defer(() => {
    throw new Error("stuck");
  });
  owned.defer(() => void seen.push("last"));
  expect(() => owned[Symbol.dispose]()).toThrow("stuck");
  expect(seen).toEqual(["last", "first"]);
  owned[Symbol.dispose]();
  expect(seen).toHaveLength(2);
});

test("move() leaves nothing behind", () => {
  const seen: string[] = [];
  const owned = new Owned();
  owned.defer(() => void seen.push("gone"));
  const moved = owned.move();
  owned[Symbol.dispose]();
  expect(seen).toEqual([]);
  moved[Symbol.dispose]();
  expect(seen).toEqual(["gone"]);
});
