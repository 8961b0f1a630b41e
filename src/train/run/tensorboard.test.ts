import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  crc32c,
  encodePicture,
  encodeRestart,
  encodeScalars,
  encodeVersion,
  frameRecord,
  maskedCrc,
  readRecords,
  TensorboardWriter,
} from "./tensorboard.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test("crc32c() meets the published vectors (RFC 3720 B.4)", () => {
  expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
});

test("maskedCrc() rotates by 15 bits and adds the constant", () => {
  const c = crc32c(new TextEncoder().encode("foo"));
  const rotated = ((BigInt(c) >> 15n) | (BigInt(c) << 17n)) & 0xffffffffn;
  expect(maskedCrc(new TextEncoder().encode("foo"))).toBe(Number((rotated + 0xa282ead8n) & 0xffffffffn));
});

test("events have the bytes of tensorflow's Event message", () => {
  expect(hex(encodeVersion(1))).toBe("09000000000000f03f1a0d627261696e2e4576656e743a32");
  expect(hex(encodeScalars(300, { loss: 0.5 }, 1))).toBe("09000000000000f03f10ac022a0d0a0b0a046c6f7373150000003f");
  expect(hex(encodeRestart(7, 1))).toBe("09000000000000f03f10073a020801");
  expect(hex(encodePicture(1, { tag: "a", width: 2, height: 3, png: Uint8Array.of(9) }, 1))).toBe(
    "09000000000000f03f10012a100a0e0a0161220908031002180322" + "0109",
  );
});

test("TensorboardWriter writes whole records, a new file at each start", () => {
  const run = mkdtempSync(join(tmpdir(), "tricera-tb-"));
  TensorboardWriter.open(run, { step: 0 }).scalars(1, { loss: 2, lr: 1e-3 });
  const files = readdirSync(join(run, "events"));
  expect(files[0]).toMatch(/^events\.out\.tfevents\.\d{13}\./);
  const records = readRecords(readFileSync(join(run, "events", files[0] ?? "")));
  expect(records.length).toBe(2);
  expect(Buffer.from(records[0] ?? []).toString("latin1")).toContain("brain.Event:2");
  expect(Buffer.from(records[1] ?? []).toString("latin1")).toContain("loss");
  rmSync(run, { recursive: true });
});

test("readRecords() leaves out a torn record and refuses a damaged one", () => {
  const framed = frameRecord(Uint8Array.of(1, 2, 3));
  expect(readRecords(framed.subarray(0, -1))).toEqual([]);
  expect(readRecords(framed)).toEqual([Uint8Array.of(1, 2, 3)]);
  const damaged = Uint8Array.from(framed);
  damaged[13] = 9;
  expect(() => readRecords(damaged)).toThrow(/sum at offset 15 is wrong/);
});
