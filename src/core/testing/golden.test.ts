import { readdirSync } from "node:fs";
import { sep } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { expectClose, goldenBase, goldenDir, goldenPart, goldenTensor, goldenTolerance, hasGolden, loadGolden } from "./golden.ts";

test.skipIf(!hasGolden("losses", "koleo"))("loadGolden() reads the JSON and the tensors of a case", () => {
  const c = loadGolden("losses", "koleo");
  expect(c.json["case"]).toBe("koleo");
  expect(goldenTensor(c, "x").shape).toEqual([12, 16]);
  expect(goldenTensor(c, "y.nn").dtype).toBe("i32");
  expect([...goldenPart(c, "y.").keys()].sort()).toEqual(["loss", "nn"]);
  expect(goldenTolerance(c)).toEqual({ atol: 1e-5, rtol: 1e-4 });
  expect(() => goldenTensor(c, "z")).toThrow('golden tensor "z"');
});

test("hasGolden() and loadGolden() know which cases there are, the project's own among them", () => {
  const own = fileURLToPath(new URL("../../../golden/", import.meta.url));
  const names = readdirSync(own, { recursive: true, encoding: "utf8" }).filter((n) => n.endsWith(".json"));
  expect(names.length).toBeGreaterThan(20);
  for (const name of names) {
    const [topic = "", file = ""] = name.split(sep);
    expect(hasGolden(topic, file.slice(0, -".json".length)), name).toBe(true);
  }
  expect(goldenDir()).toBeDefined();
  expect(hasGolden("losses", "koleo", "no such case")).toBe(false);
  expect(goldenBase("losses", "no such case")).toBeUndefined();
  expect(() => loadGolden("losses", "no such case")).toThrow('Cannot load golden "losses/no such case"');
});

test("expectClose() passes within the tolerance and names the first and the worst value beyond it", () => {
  const tolerance = { atol: 1e-3, rtol: 0 };
  expectClose([1, 2, Number.NaN], new Float64Array([1.0005, 2, Number.NaN]), tolerance);
  expect(() => {
    expectClose([1, 2, 3], [1, 2.1, 5], tolerance);
  }).toThrow(/2 of 3 values.*first \[1\] is 2.*worst \[2\] is 3/);
  expect(() => {
    expectClose([1], [1, 2], tolerance);
  }).toThrow("1 values, the reference 2");
  expect(() => {
    expectClose([Number.NaN], [1], tolerance);
  }).toThrow("1 of 1");
});
