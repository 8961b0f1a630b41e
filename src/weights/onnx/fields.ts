/** @file Fields of a protobuf message by number. */
import { FIELDS, readFields, readText, type WireField } from "../../engine/onnx/index.ts";

/** Every value of a field. */
export function allOf(fields: readonly WireField[], field: number): readonly WireField[] {
  return fields.filter((f) => f.field === field);
}

/** The last of a field: protobuf has it win. */
export function lastOf(fields: readonly WireField[], field: number): WireField | undefined {
  return fields.findLast((f) => f.field === field);
}

/** A field's text; "" where it is not there. */
export function textOf(fields: readonly WireField[], field: number): string {
  const found = lastOf(fields, field);
  return found === undefined ? "" : readText(found.bytes);
}

/** A StringStringEntryProto. */
export function readEntry({ bytes }: WireField): readonly [key: string, value: string] {
  const fields = [...readFields(bytes)];
  return [textOf(fields, FIELDS.ENTRY.key), textOf(fields, FIELDS.ENTRY.value)];
}
