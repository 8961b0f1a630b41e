import fc from "fast-check";
import { expect, test } from "vitest";
import { PIL_CASES } from "../images/testing/pil-cases.ts";
import { withoutExif } from "./exif.ts";

const turned = new Uint8Array(Buffer.from(PIL_CASES["exif.jpg"]?.base64 ?? "", "base64"));

test("withoutExif() takes the segment out and leaves the rest", () => {
  const at = Buffer.from(turned).indexOf("Exif") - 4;
  const length = 2 + Buffer.from(turned).readUInt16BE(at + 2);
  expect(withoutExif(turned)).toEqual(Uint8Array.from([...turned.subarray(0, at), ...turned.subarray(at + length)]));
});

test("withoutExif() leaves other files as they are", () => {
  for (const name of ["a.jpg", "rgba.png", "a.webp"]) {
    const bytes = new Uint8Array(Buffer.from(PIL_CASES[name]?.base64 ?? "", "base64"));
    expect(withoutExif(bytes)).toBe(bytes);
  }
});

test("withoutExif() gives no more than it had, whatever the bytes", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(turned.length - 1), fc.nat(255)), { maxLength: 8 }), fc.nat(turned.length), (edits, length) => {
      const bytes = turned.slice(0, length);
      for (const [at, value] of edits) if (at < length) bytes[at] = value;
      expect(withoutExif(bytes).length).toBeLessThanOrEqual(bytes.length);
    }),
  );
});
