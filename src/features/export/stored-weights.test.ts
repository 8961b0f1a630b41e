import fc from "fast-check";
import { expect, test } from "vitest";
import type { HostTensor } from "../../core/index.ts";
import { halfToFloat } from "../../weights/half.ts";
import { needsExternal, storedBytes } from "./build-model.ts";
import { compareRows, isWithin, worse } from "./compare.ts";
import { floatToHalf, isQuantized, quantizeRows, rowScales } from "./stored-weights.ts";

test("floatToHalf() is the inverse of halfToFloat() on every float16", () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    const value = halfToFloat(bits);
    const back = floatToHalf(value);
    if (Number.isNaN(value)) expect(halfToFloat(back)).toBeNaN();
    else if (back !== bits) expect([bits, back]).toEqual([0x8000, 0]); // a zero's sign may go
  }
});

test("floatToHalf() rounds to the nearest, ties to even, and beyond the range to infinity", () => {
  fc.assert(
    fc.property(fc.float({ min: Math.fround(-65519), max: Math.fround(65519), noNaN: true }), (x) => {
      const bits = floatToHalf(x);
      const found = halfToFloat(bits);
      for (const next of [bits - 1, bits + 1].filter((b) => (b & 0x7fff) < 0x7c00 && b >= 0)) {
        const other = halfToFloat(next);
        const [here, there] = [Math.abs(found - x), Math.abs(other - x)];
        expect(here <= there).toBe(true);
        if (here === there && other !== found) expect(bits % 2).toBe(0);
      }
    }),
    { numRuns: 500 },
  );
  expect(halfToFloat(floatToHalf(65520))).toBe(Infinity);
  expect(halfToFloat(floatToHalf(-70000))).toBe(-Infinity);
  expect(halfToFloat(floatToHalf(Number.NaN))).toBeNaN();
});

test("quantizeRows() is off by at most half a step of each row, and keeps rows of zeros", () => {
  const data = Float32Array.of(1, -2, 0.5, 0, 0, 0, 1e-3, 2e-3, -1e-3);
  const tensor = { dtype: "f32", shape: [3, 3], data } as const;
  const scales = rowScales(tensor);
  const values = quantizeRows(tensor, scales);
  expect([...scales]).toEqual([Math.fround(2 / 127), 1, Math.fround(Math.fround(2e-3) / 127)]);
  for (const [i, x] of data.entries()) {
    const scale = scales[Math.floor(i / 3)] ?? 0;
    expect(Math.abs((values[i] ?? 0) * scale - x)).toBeLessThanOrEqual(scale * 0.5001);
  }
});

test("int8 takes matrices and dense convolutions, and leaves the layer that sees pixels, depthwise kernels and vectors", () => {
  expect(isQuantized("blocks.0.attn.qkv.weight", [36, 12])).toBe(true);
  expect(isQuantized("layer1.0.conv1.weight", [4, 4, 3, 3])).toBe(true);
  expect(isQuantized("patch_embed.proj.weight", [12, 3, 4, 4])).toBe(false);
  expect(isQuantized("stages.0.0.dwconv.weight", [4, 1, 7, 7])).toBe(false);
  expect(isQuantized("pos_embed", [1, 17, 12])).toBe(false);
  expect(isQuantized("norm.weight", [12])).toBe(false);
});

test("weights that do not fit into one file are known before anything is made", () => {
  const shape = [25_000, 25_000]; // 2.3 GiB of float32; the data is not looked at
  const tensors = new Map<string, HostTensor>([["blocks.0.mlp.fc1.weight", { dtype: "f32", shape, data: new Float32Array(0) }]]);
  expect(storedBytes(tensors, "f32")).toBe(2.5e9);
  expect(storedBytes(tensors, "int8")).toBe(6.25e8);
  expect((["f32", "f16", "int8"] as const).map((dtype) => needsExternal(tensors, dtype))).toEqual([true, false, false]);
});

test("compareRows() finds the worst vector; what is not finite or too short is never within", () => {
  const wanted = Float32Array.of(1, 0, 0, 2);
  const near = compareRows(Float32Array.of(1, 0, 0, 1), wanted, 2);
  expect(near).toEqual({ maxAbsError: 1, maxRelError: 0.5, worstCosine: 1 });
  expect(compareRows(Float32Array.of(0, 1, 0, 2), wanted, 2).worstCosine).toBe(0);
  expect(compareRows(new Float32Array(2), new Float32Array(2), 2)).toEqual({ maxAbsError: 0, maxRelError: 0, worstCosine: 1 });
  const loose = { maxRelError: Infinity, worstCosine: -1 };
  expect(isWithin(near, loose)).toBe(true);
  for (const bad of [Float32Array.of(1, Number.NaN, 0, 2), Float32Array.of(1, 0)]) {
    const found = compareRows(bad, wanted, 2);
    expect(isWithin(found, loose)).toBe(false);
    expect(isWithin(worse(near, found), loose)).toBe(false);
  }
});
