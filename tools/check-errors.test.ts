import { expect, test } from "vitest";
import { checkErrors, readMessage } from "./check-errors.ts";

test("readMessage() joins literals and stands {} for what a template fills in", () => {
  expect(readMessage('"Cannot a: b; c", { cause })')).toBe("Cannot a: b; c");
  expect(readMessage('`Cannot read "${path}": ${rows.map((r) => `"${r}"`).join()}; mend it`)')).toBe('Cannot read "{}": {}; mend it');
  expect(readMessage('"Cannot a: b; " +\n  `use ${x}`)')).toBe("Cannot a: b; use {}");
  expect(readMessage('"Cannot a: b; " + hint)')).toBe("Cannot a: b; {}");
  expect(readMessage("message, { cause })")).toBeUndefined();
});

test.each([
  ['throw new ConfigError("Cannot use x: it is 3; use 4")', ""],
  ['throw new UsageError(`Cannot use "${x}": there is none; ${nameHint(x, all)}`)', ""],
  ['throw new InternalError("Cannot happen: x has no y")', ""],
  ["throw new FormatError(text, { file })", ""],
  ['throw new FormatError(\n  "File is broken"\n)', 'does not begin with "Cannot "'],
  ['throw new Error("Cannot read it")', 'no ": " before the state'],
  ['throw new ShapeError("Cannot add a and b: shapes differ")', 'no "; " before what to do'],
  ['throw new PlatformError("Cannot start: no memory; buy some.")', "full stop"],
])("checkErrors() reads %j", (code, wrong) => {
  const found = checkErrors("src/x.ts", `\n${code};\n`);
  if (wrong === "") expect(found).toEqual([]);
  else expect(found).toEqual([expect.stringContaining(wrong)]);
});

test("checkErrors() says where", () => {
  expect(checkErrors("src/x.ts", '\n\nthrow new Error("no");')[0]).toMatch(/^src\/x\.ts:3 says "no": /);
});
