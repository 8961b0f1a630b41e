import { expect, test } from "vitest";
import { entryOf, FlatParams, makeLayout } from "./layout.ts";

const layout = makeLayout([
  { name: "a", shape: [3] },
  { name: "b", shape: [4, 5] },
  { name: "c", shape: [] },
]);

test("makeLayout() puts every parameter on a cache line of its own", () => {
  expect(layout.entries.map(({ offset, length, paddedLength }) => [offset, length, paddedLength])).toEqual([
    [0, 3, 16],
    [16, 20, 32],
    [48, 1, 16],
  ]);
  expect(layout.length).toBe(64);
});

test("FlatParams.view() is the parameter in place", () => {
  const flat = new FlatParams(layout);
  flat.view("b").fill(2);
  expect(flat.data.subarray(15, 37)).toEqual(new Float32Array(22).fill(2, 1, 21));
  expect([...flat.views()].map(([name, view]) => [name, view.length])).toEqual([
    ["a", 3],
    ["b", 20],
    ["c", 1],
  ]);
});

test("makeLayout() refuses a name given twice and an empty parameter, entryOf() offers the nearest name", () => {
  expect(() =>
    makeLayout([
      { name: "a", shape: [1] },
      { name: "a", shape: [1] },
    ]),
  ).toThrow('"a" is there twice');
  expect(() => makeLayout([{ name: "a", shape: [0, 4] }])).toThrow("float32[0,4] is empty");
  expect(() => entryOf(makeLayout([{ name: "blocks.0.weight", shape: [1] }]), "block.0.weight")).toThrow('did you mean "blocks.0.weight"?');
});
