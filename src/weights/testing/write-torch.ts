/** @file For tests: float32 tensors as `torch.save` writes a state dict, a stored zip with a pickle of protocol 2. */
import { writeFile } from "node:fs/promises";
import { crc32 } from "node:zlib";
import type { HostTensor } from "../../core/index.ts";

const text = (s: string): Buffer => {
  const bytes = Buffer.from(s);
  const length = Buffer.alloc(5);
  length.write("X", "latin1"); // BINUNICODE
  length.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([length, bytes]);
};
const int = (n: number): Buffer => {
  const bytes = Buffer.alloc(5);
  bytes.write("J", "latin1"); // BININT
  bytes.writeInt32LE(n, 1);
  return bytes;
};
const code = (s: string): Buffer => Buffer.from(s, "latin1");
const tuple = (items: readonly Buffer[]): Buffer => Buffer.concat([code("("), ...items, code("t")]);
const EMPTY_DICT = code("ccollections\nOrderedDict\n)R");

function rebuilt({ shape, data }: HostTensor, key: string): Buffer {
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const storage = [tuple([text("storage"), code("ctorch\nFloatStorage\n"), text(key), text("cpu"), int(data.length)]), code("Q")];
  const rest = [int(0), tuple(shape.map(int)), tuple(strides.map(int)), code("\x89"), EMPTY_DICT];
  return Buffer.concat([code("ctorch._utils\n_rebuild_tensor_v2\n"), tuple([...storage, ...rest]), code("R")]);
}

interface Member {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Fields that the local and the central header share. */
function common({ name, bytes }: Member): Buffer {
  const head = Buffer.alloc(26);
  head.writeUInt16LE(20, 0); // version needed; then flags, method, time and date: 0
  head.writeUInt32LE(crc32(bytes), 10);
  head.writeUInt32LE(bytes.length, 14);
  head.writeUInt32LE(bytes.length, 18);
  head.writeUInt16LE(name.length, 22);
  return head;
}

function zip(members: readonly Member[]): Buffer {
  const locals: Buffer[] = [];
  const central: Buffer[] = [];
  let at = 0;
  for (const member of members) {
    const local = Buffer.concat([code("PK\x03\x04"), common(member), code(member.name), member.bytes]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(at, 10);
    central.push(Buffer.concat([code("PK\x01\x02\x14\0"), common(member), tail, code(member.name)]));
    locals.push(local);
    at += local.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...locals, directory, end]);
}

/** Writes a `.pth` of plain float32 tensors. */
export async function writeTorch(path: string, tensors: ReadonlyMap<string, HostTensor>): Promise<void> {
  const all = [...tensors];
  const items = all.flatMap(([name, tensor], i) => [text(name), rebuilt(tensor, String(i))]);
  const pickle = Buffer.concat([code("\x80\x02"), EMPTY_DICT, code("("), ...items, code("u.")]);
  const storages = all.map(([, { data }], i) => ({
    name: `archive/data/${i}`,
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  }));
  await writeFile(path, zip([{ name: "archive/data.pkl", bytes: pickle }, ...storages, { name: "archive/version", bytes: code("3\n") }]));
}
