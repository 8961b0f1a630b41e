/** @file Sizes that are not fixed, computed inside a model from the shape of its input. */
import { InternalError } from "../../../core/index.ts";
import type { Lowering } from "../lower/context.ts";
import { isFixed, type Poly, type SizeSymbol, symbolsOf } from "./poly.ts";

/** Where a symbol comes from: an axis of the model's input, in steps (a patch's pixels). */
export interface SizeSource {
  readonly axis: number;
  readonly step: number;
  /** Whether a step that is begun counts, as the padded windows of a ResNet have it; an incomplete one does not unless said. */
  readonly up?: boolean;
}

/** Emits sizes as int64 tensors `[n]`, each once. */
export class Sizes {
  readonly #to: Lowering;
  readonly #input: string;
  readonly #symbols: readonly SizeSymbol[];
  readonly #sources: readonly SizeSource[];
  readonly #made = new Map<string, string>();

  constructor(
    to: Lowering,
    {
      input,
      symbols,
      sources,
    }: { readonly input: string; readonly symbols: readonly SizeSymbol[]; readonly sources: readonly SizeSource[] },
  ) {
    this.#to = to;
    this.#input = input;
    this.#symbols = symbols;
    this.#sources = sources;
  }

  /** The value of a symbol by its name, `[1]`. */
  symbol(name: string): string {
    const index = this.#symbols.findIndex((s) => s.name === name);
    const source = this.#sources[index];
    if (source === undefined) throw new InternalError(`Cannot find size "${name}": the model has none of that name`);
    return this.#once(`symbol ${name}`, () => {
      const { axis, step, up = false } = source;
      const pixels = this.#to.emit("Shape", [this.#input], { attrs: { start: { int: axis }, end: { int: axis + 1 } } });
      const counted = up ? this.#to.emit("Add", [pixels, this.#to.i64([step - 1])]) : pixels;
      return step === 1 ? pixels : this.#to.emit("Div", [counted, this.#to.i64([step])]);
    });
  }

  /** A number, `[1]`. */
  one(poly: Poly): string {
    if (isFixed(poly)) return this.#to.i64([poly[0] ?? 0]);
    return this.#once(`poly ${poly.join()}`, () => {
      const terms = poly.flatMap((c, mask) => (c === 0 ? [] : [this.#term(c, mask)]));
      return terms.reduce((a, b) => this.#to.emit("Add", [a, b]));
    });
  }

  /** Numbers in a row, `[n]`. */
  list(polys: readonly Poly[]): string {
    if (polys.every(isFixed)) return this.#to.i64(polys.map(([c = 0]) => c));
    const [only, ...more] = polys;
    if (only !== undefined && more.length === 0) return this.one(only);
    return this.#once(`list ${polys.map((p) => p.join()).join(";")}`, () =>
      this.#to.emit(
        "Concat",
        polys.map((p) => this.one(p)),
        { attrs: { axis: { int: 0 } } },
      ),
    );
  }

  #term(c: number, mask: number): string {
    const factors = symbolsOf(mask, this.#symbols.length).map((i) => this.symbol(this.#symbols[i]?.name ?? ""));
    const all = c === 1 && factors.length > 0 ? factors : [this.#to.i64([c]), ...factors];
    return all.reduce((a, b) => this.#once(`${a} * ${b}`, () => this.#to.emit("Mul", [a, b])));
  }

  #once(key: string, make: () => string): string {
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const name = make();
    this.#made.set(key, name);
    return name;
  }
}
