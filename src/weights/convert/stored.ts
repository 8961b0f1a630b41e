/** @file A network's tensors as a naming stores them, made while they are written: no more than one parameter is in memory. */
import { type HostTensor, type Shape, sizeOf } from "../../core/index.ts";
import { type BackboneConfig, isViT, ropePeriods, type ViTConfig } from "../../nn/index.ts";
import type { LazyTensors, OpenNetwork } from "../folder/backbone.ts";
import { convnextLinks, COPIES, dialectOf, type Link, type Naming, resnetLinks, vitLinks } from "../names/index.ts";
import type { StreamedTensor } from "../safetensors.ts";
import { bytesOf } from "../tensor-bytes.ts";

/** What is written of a network. */
export interface Stored {
  /** By the naming's names, in their order. */
  readonly tensors: ReadonlyMap<string, StreamedTensor>;
  /** What reading them again gives, by our names. */
  readonly expected: LazyTensors;
  /** Parameters that the naming has no place for, by our names. */
  readonly leftOut: readonly string[];
}

function linksOf(config: BackboneConfig, naming: Naming): Link[] {
  if (isViT(config)) return vitLinks(config, dialectOf(naming, config));
  return config.family === "convnext" ? convnextLinks(config, naming) : resnetLinks(config);
}

/** timm's models with registers have no position of the class token: it is part of the class token. */
function isMerged(config: BackboneConfig, naming: Naming): boolean {
  return naming === "timm" && isViT(config) && config.positions !== "rope" && (config.registers ?? 0) > 0;
}

/** The class token with its position added, and no position left. */
function mergeClass({ shapes, read }: LazyTensors): LazyTensors {
  const merged = async (name: string): Promise<HostTensor> => {
    const tensor = await read(name);
    const data = Float32Array.from(tensor.data, Number);
    if (name === "pos_embed") return { ...tensor, data: data.fill(0, 0, tensor.shape.at(-1)) };
    const place = (await read("pos_embed")).data;
    return { ...tensor, data: data.map((x, i) => x + Number(place[i])) };
  };
  return { shapes, read: (name) => (name === "cls_token" || name === "pos_embed" ? merged(name) : read(name)) };
}

/** Biases of keys as the network computes them: zero where it says so, whatever the file holds (spec §6, 15). */
function maskKeys({ shapes, read }: LazyTensors, { keyBiasMask = false, width }: ViTConfig): LazyTensors {
  if (!keyBiasMask) return { shapes, read };
  const masked = async (name: string): Promise<HostTensor> => {
    const tensor = await read(name);
    return { ...tensor, data: Float32Array.from(tensor.data, Number).fill(0, width, 2 * width) };
  };
  return { shapes, read: (name) => (name.endsWith(".attn.qkv.bias") ? masked(name) : read(name)) };
}

/** Keeps what was read last: parts of one parameter are written one after the other. */
function keepLast(read: LazyTensors["read"]): LazyTensors["read"] {
  let last: { readonly name: string; readonly tensor: HostTensor } | undefined;
  return async (name) => {
    if (last?.name !== name) last = { name, tensor: await read(name) };
    return last.tensor;
  };
}

function streamed(shape: Shape, piece: () => Promise<Float32Array>): StreamedTensor {
  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield bytesOf({ dtype: "f32", shape, data: await piece() });
  }
  return { dtype: "f32", shape, pieces };
}

/** The parts of every parameter that have a name. */
function partsOf(links: readonly Link[], read: LazyTensors["read"]): [string, StreamedTensor][] {
  const once = keepLast(read);
  return links.flatMap(({ name, parts }) => {
    let at = 0;
    return parts.flatMap(({ name: theirs, shape }) => {
      const [from, end] = [at, at + sizeOf(shape)];
      at = end;
      if (theirs === undefined) return [];
      const piece = async (): Promise<Float32Array> => ((await once(name)).data as Float32Array).subarray(from, end); // lazy tensors are float32
      return [[theirs, streamed(shape, piece)] satisfies [string, StreamedTensor]];
    });
  });
}

const constant = (shape: Shape, data: Float32Array): StreamedTensor => streamed(shape, () => Promise.resolve(data));

/** What Meta's own classes store of a ViT besides parameters, so that they load it strictly (spec §6, 15). */
function metaBuffers(config: ViTConfig): [string, StreamedTensor][] {
  const { positions, rope = {}, width, heads, depth, keyBiasMask = false, qkvBias = true } = config;
  if (positions !== "rope") return [];
  const periods = Float32Array.from(ropePeriods(rope, width / heads));
  const mask = new Float32Array(3 * width).fill(1).fill(0, width, 2 * width);
  const masks = Array.from({ length: keyBiasMask && qkvBias ? depth : 0 }, (_, i): [string, StreamedTensor] => [
    `blocks.${i}.attn.qkv.bias_mask`,
    constant([3 * width], mask),
  ]);
  return [["rope_embed.periods", constant([periods.length], periods)], ...masks];
}

/** What a naming's own classes want besides parameters. */
function extrasOf(config: BackboneConfig, naming: Naming, { shapes, read }: LazyTensors): [string, StreamedTensor][] {
  if (!isViT(config)) {
    if (config.family !== "convnext" || naming !== "meta") return [];
    return COPIES.map(([copy, of]) => [copy, streamed(shapes.get(of) ?? [], async () => (await read(of)).data as Float32Array)]); // as above
  }
  if (naming === "meta") return metaBuffers(config);
  const lacksRegisters = naming === "huggingface" && config.positions === "rope" && (config.registers ?? 0) === 0;
  return lacksRegisters ? [["embeddings.register_tokens", constant([1, 0, config.width], new Float32Array())]] : [];
}

/** A network's tensors under a naming. Throws ConfigError for a network that the naming has no names for. */
export function storedAs({ config, params }: Pick<OpenNetwork, "config" | "params">, naming: Naming): Stored {
  const links = linksOf(config, naming);
  const computed = isViT(config) ? maskKeys(params, config) : params;
  const expected = isMerged(config, naming) ? mergeClass(computed) : computed;
  const kept = new Map(links.filter(({ parts }) => parts.some(({ name }) => name !== undefined)).map(({ name, shape }) => [name, shape]));
  return {
    tensors: new Map([...partsOf(links, expected.read), ...extrasOf(config, naming, params)].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    expected: { shapes: kept, read: expected.read },
    leftOut: [...params.shapes.keys()].filter((name) => !kept.has(name)),
  };
}
