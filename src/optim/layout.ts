/** @file Flat parameters: every parameter at a fixed place of one float32 buffer, so that optimizers are one pass over memory. */
import { InternalError, nameHint, sizeOf, type Shape } from "../core/index.ts";

/** Parameters start at multiples of 16 floats = 64 bytes, a cache line. */
const ALIGN_FLOATS = 16;

export interface ParamSpec {
  readonly name: string;
  readonly shape: Shape;
}

/** Where one parameter lives. `offset`, `length` and `paddedLength` are in floats; the padding behind it is always zero. */
export interface LayoutEntry extends ParamSpec {
  readonly index: number;
  readonly offset: number;
  readonly length: number;
  readonly paddedLength: number;
}

/** The places of all parameters; `length` is that of the whole buffer in floats. */
export interface Layout {
  readonly entries: readonly LayoutEntry[];
  readonly length: number;
  readonly byName: ReadonlyMap<string, LayoutEntry>;
}

/** Rounds up to whole cache lines. */
function padded(length: number): number {
  return Math.ceil(length / ALIGN_FLOATS) * ALIGN_FLOATS;
}

/** Lays parameters out one after the other, each on a cache line of its own. Throws on a name given twice and on an empty shape. */
export function makeLayout(params: readonly ParamSpec[]): Layout {
  const byName = new Map<string, LayoutEntry>();
  let offset = 0;
  const entries = params.map(({ name, shape }, index): LayoutEntry => {
    const length = sizeOf(shape);
    if (byName.has(name)) throw new InternalError(`Cannot lay out the parameters: "${name}" is there twice; give each its own name`);
    if (!(length >= 1)) throw new InternalError(`Cannot lay out "${name}": float32[${shape.join(",")}] is empty; leave it out`);
    const entry = { name, shape, index, offset, length, paddedLength: padded(length) };
    offset += entry.paddedLength;
    byName.set(name, entry);
    return entry;
  });
  return { entries, length: offset, byName };
}

/** The place of a parameter; an unknown name throws with the nearest one. */
export function entryOf(layout: Layout, name: string): LayoutEntry {
  const entry = layout.byName.get(name);
  if (entry === undefined)
    throw new InternalError(`Cannot find parameter "${name}": it is not in the layout; ${nameHint(name, layout.byName.keys())}`);
  return entry;
}

/** One float for every parameter element: the parameters themselves, their gradients, or an optimizer's moments. */
export class FlatParams {
  readonly layout: Layout;
  /** The whole buffer, padding included, over shared memory. */
  readonly data: Float32Array<SharedArrayBuffer>;

  /** Takes `data` (not copied) or allocates zeros. */
  constructor(layout: Layout, data?: Float32Array<SharedArrayBuffer>) {
    this.layout = layout;
    this.data = data ?? new Float32Array(new SharedArrayBuffer(layout.length * Float32Array.BYTES_PER_ELEMENT));
    if (this.data.length !== layout.length)
      throw new InternalError(`Cannot view flat parameters: the buffer has ${this.data.length} floats; the layout needs ${layout.length}`);
  }

  /** The elements of one parameter, row-major, in place. */
  view(name: string): Float32Array<SharedArrayBuffer> {
    const { offset, length } = entryOf(this.layout, name);
    return this.data.subarray(offset, offset + length);
  }

  /** Every parameter's elements in layout order, in place. */
  *views(): IterableIterator<[name: string, view: Float32Array<SharedArrayBuffer>]> {
    for (const { name, offset, length } of this.layout.entries) yield [name, this.data.subarray(offset, offset + length)];
  }
}
