/** @file Headers of tables that are written before their number of rows is known: room is kept for the longest, the rest is spaces. */

export interface TableShape {
  readonly rows: number;
  /** Shape of a row of `features`. */
  readonly row: readonly number[];
  /** Shape of a row of `attention`, where there is one. */
  readonly attention?: readonly number[] | undefined;
}

const sizeOfRow = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** The header of a table at `out`, `sizeBytes` long where that is said; empty for formats without. */
export function tableHeader(out: string, shape: TableShape, sizeBytes?: number): Uint8Array {
  if (out.endsWith(".safetensors")) return safetensorsHeader(shape, sizeBytes);
  return out.endsWith(".npy") ? npyHeader(shape, sizeBytes) : new Uint8Array(0);
}

/** `features`, then `attention`, both f32, the data in that order; spaces may follow the JSON. */
function safetensorsHeader({ rows, row, attention }: TableShape, sizeBytes: number | undefined): Uint8Array {
  const end = rows * sizeOfRow(row) * 4;
  const entry = (shape: readonly number[], begin: number): object => ({
    dtype: "F32",
    shape: [rows, ...shape],
    data_offsets: [begin, begin + rows * sizeOfRow(shape) * 4],
  });
  const tensors = { features: entry(row, 0), ...(attention === undefined ? {} : { attention: entry(attention, end) }) };
  const json = new TextEncoder().encode(JSON.stringify({ __metadata__: { format: "pt" }, ...tensors }));
  const bytes = new Uint8Array(sizeBytes ?? 8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(json, 8);
  return bytes;
}

/** Format 1.0; the data begins at a multiple of 64. */
function npyHeader({ rows, row }: TableShape, sizeBytes: number | undefined): Uint8Array {
  const dict = `{'descr': '<f4', 'fortran_order': False, 'shape': (${[rows, ...row].join(", ")}), }`;
  const size = sizeBytes ?? Math.ceil((10 + dict.length + 1) / 64) * 64;
  const text = `\x93NUMPY\x01\x00${String.fromCharCode((size - 10) & 255, (size - 10) >> 8)}${dict.padEnd(size - 11)}\n`;
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}
