/** @file The backbone's tensors in a file: below its root, by the file's names. */
import { FormatError, type HostTensor, InternalError, type Shape } from "../../core/index.ts";
import { backboneRoot, detectNames, joinTensor, type Link, type NetworkNames, plainName } from "../names/index.ts";
import type { TensorSource } from "../tensor-source.ts";
import type { LazyTensors } from "./backbone.ts";

/** Shapes at once, values when asked for. */
export class Contents {
  readonly shapes: ReadonlyMap<string, Shape>;
  /** The family, and whose names they are. */
  readonly names: NetworkNames;
  readonly source: TensorSource;
  readonly #full: ReadonlyMap<string, string>;

  /** Throws FormatError where no backbone is found, or its names are nobody's. */
  constructor(source: TensorSource) {
    this.source = source;
    const { path } = source;
    const root = backboneRoot(source.entries.keys(), path);
    const pairs = [...source.entries.keys()].flatMap((full) => {
      const name = plainName(full, root);
      return name === undefined ? [] : [[name, full] as const];
    });
    this.#full = new Map(pairs);
    if (this.#full.size !== pairs.length)
      throw new FormatError(`Cannot read weights of "${path}": two tensors have one name once prefixes are off; save the model again`, {
        file: path,
      });
    this.shapes = new Map(pairs.map(([name, full]) => [name, source.entries.get(full)?.shape ?? []]));
    const names = detectNames(this.shapes);
    if (names === undefined)
      throw new FormatError(`Cannot read weights of "${path}": their names are not those of Meta, Hugging Face or timm; rename them`, {
        file: path,
      });
    this.names = names;
  }

  async read(name: string): Promise<HostTensor | undefined> {
    const full = this.#full.get(name);
    return full === undefined ? undefined : this.source.read(full);
  }

  /** What the file calls the type of a tensor that is there. */
  typeOf(name: string): string {
    return this.source.entries.get(this.#full.get(name) ?? name)?.dtype ?? "unknown";
  }

  /** Our tensors, each read and joined when asked for. Keys are checked before. */
  params(links: readonly Link[]): LazyTensors {
    const byName = new Map(links.map((link) => [link.name, link]));
    const read = async (name: string): Promise<HostTensor> => {
      const link = byName.get(name);
      if (link === undefined) throw new InternalError(`Cannot read parameter "${name}": the network has none of that name`);
      return joinTensor(await this.readAll(link.parts.flatMap((part) => part.name ?? [])), link);
    };
    return { shapes: new Map(links.map(({ name, shape }) => [name, shape])), read };
  }

  /** Those of the names that are there. */
  async readAll(names: Iterable<string>): Promise<Map<string, HostTensor>> {
    const found = new Map<string, HostTensor>();
    for (const name of names) {
      const tensor = await this.read(name);
      if (tensor !== undefined) found.set(name, tensor);
    }
    return found;
  }
}
