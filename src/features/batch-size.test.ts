import { expect, test } from "vitest";
import { defaultBatchSize } from "./batch-size.ts";

test.each([
  [16, 32],
  [96, 16],
  [112, 16],
  [224, 4],
  [225, 2],
  [518, 1],
  [4000, 1],
])("pictures of %i px go %i at a time", (sizePx, batch) => {
  expect(defaultBatchSize(sizePx)).toBe(batch);
});
