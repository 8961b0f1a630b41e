/** @file Opens the weights of a backbone, from wherever: Hugging Face folders, timm's and Meta's files, run folders. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ConfigError, FormatError, type HostTensor, nearestName, type Shape } from "../../core/index.ts";
import { type ViTConfig, VIT_PRESETS, vitPreset } from "../../nn/index.ts";
import {
  adjustToShapes,
  backboneRoot,
  checkPeriods,
  detectDialect,
  type Dialect,
  fromDialect,
  inferViT,
  plainName,
  published,
  storedShapes,
  TABLES,
  vitLinks,
} from "../names/index.ts";
import { checkKeys } from "../names/convert.ts";
import type { NamedTensors } from "../tensor-bytes.ts";
import { openShards, openTensors, type TensorSource } from "../tensor-source.ts";
import { fromHuggingFaceConfig, huggingFacePositions } from "./hf-config.ts";

/** Whose weights: their positions are resized as there (contracts 18). */
export type BackboneSource = "huggingface" | "meta" | "timm" | "tricera";

export interface Backbone {
  readonly config: ViTConfig;
  /** float32, by our (Meta's) names. */
  readonly tensors: NamedTensors;
  readonly source: BackboneSource;
  /** What stands in `preprocessor_config.json`, where there is one beside the file. */
  readonly processor: object | undefined;
  /** The file or index that the tensors were read from. */
  readonly file: string;
}

export interface ReadBackboneOptions {
  /** Architecture of a bare file: a preset's name, or the configuration itself. Without it, it is inferred from the shapes. */
  readonly arch?: string | ViTConfig | undefined;
}

const WEIGHTS = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"] as const;

const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isFile() === true;

async function readJson(file: string): Promise<unknown> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new FormatError(`Cannot open model: "${file}" is missing; give a run folder, a Hugging Face folder or a file of weights`, {
      file,
      cause,
    });
  });
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new FormatError(`Cannot open model: "${file}" is not JSON; download or export it again`, { file, cause });
  }
}

async function whatIsWrong(path: string): Promise<string> {
  const wanted = "give a run folder, a Hugging Face folder or a file of weights";
  if (VIT_PRESETS.has(path)) return `that is an architecture without weights; train it, or ${wanted}`;
  const found = await readdir(path).catch(() => undefined);
  if (found !== undefined)
    return `it holds ${found.length === 0 ? "nothing" : found.slice(0, 5).join(", ")} and no model.safetensors; ${wanted}`;
  const near = nearestName(basename(path), await readdir(dirname(path)).catch(() => []));
  return `it does not exist; ${near === undefined ? wanted : `did you mean "${near}"?`}`;
}

interface Place {
  readonly file: string;
  /** The model folder, where it is one. */
  readonly dir: string | undefined;
  readonly isRun: boolean;
}

/** The file of weights that a path means: itself, that of a folder, or of a run's `exported/best` or `exported/last`. */
async function findWeights(path: string): Promise<Place> {
  if (await isFile(path)) {
    const isRun = basename(path) === "teacher.safetensors" && (await isFile(join(dirname(path), "state.json")));
    return { file: path, dir: undefined, isRun };
  }
  const isRun = /^exported$/.test(basename(dirname(path)));
  for (const [dir, run] of [
    [path, isRun],
    [join(path, "exported", "best"), true],
    [join(path, "exported", "last"), true],
  ] as const)
    for (const name of WEIGHTS) if (await isFile(join(dir, name))) return { file: join(dir, name), dir, isRun: run };
  throw new FormatError(`Cannot open model "${path}": ${await whatIsWrong(path)}`, { file: path });
}

/** The backbone's tensors by the file's names below its root: shapes at once, values when asked for. */
class Contents {
  readonly shapes: ReadonlyMap<string, Shape>;
  readonly dialect: Dialect;
  readonly source: TensorSource;
  readonly #full: ReadonlyMap<string, string>;

  constructor(source: TensorSource) {
    this.source = source;
    const root = backboneRoot(source.entries.keys(), source.path);
    const pairs = [...source.entries.keys()].flatMap((full) => {
      const name = plainName(full, root);
      return name === undefined ? [] : [[name, full] as const];
    });
    this.#full = new Map(pairs);
    if (this.#full.size !== pairs.length)
      throw new FormatError(
        `Cannot read weights of "${source.path}": two tensors have one name once prefixes are off; save the model again`,
        {
          file: source.path,
        },
      );
    this.shapes = new Map(pairs.map(([name, full]) => [name, source.entries.get(full)?.shape ?? []]));
    const dialect = detectDialect(this.shapes);
    if (dialect === undefined)
      throw new FormatError(
        `Cannot read weights of "${source.path}": their names are not those of Meta, Hugging Face or timm; rename them`,
        {
          file: source.path,
        },
      );
    this.dialect = dialect;
  }

  async read(name: string): Promise<HostTensor | undefined> {
    const full = this.#full.get(name);
    return full === undefined ? undefined : this.source.read(full);
  }
}

/** What a folder's `config.json` says, ours to resize positions as Hugging Face does. */
async function describedConfig(dir: string): Promise<ViTConfig> {
  const file = join(dir, "config.json");
  return fromHuggingFaceConfig(await readJson(file), file);
}

interface Found {
  readonly contents: Contents;
  readonly periods: HostTensor | undefined;
  readonly place: Place;
}

/** Architecture of a bare file: named, given, or inferred. */
function bareConfig({ contents, periods, place: { file } }: Found, arch: ReadBackboneOptions["arch"]): ViTConfig {
  const { dialect, shapes } = contents;
  const options = { dialect, file, periods };
  if (arch === undefined) return inferViT(shapes, options);
  const named = typeof arch === "string" ? vitPreset(arch) : arch;
  return adjustToShapes(TABLES[dialect].naming === "meta" ? named : published(named), shapes, options);
}

/** Whose a bare file is, by its names; DINO's own and timm's are the same, so the architecture's name may tell. */
function bareSource({ contents, place }: Found, arch: ReadBackboneOptions["arch"]): BackboneSource {
  if (place.isRun) return "tricera";
  if (typeof arch === "string" && /\.(?:dino|lvd142m|lvd1689m|sat493m)$/.test(arch)) return "timm";
  return TABLES[contents.dialect].naming;
}

function withPositions(config: ViTConfig, source: BackboneSource): ViTConfig {
  const { registers = 0, positions } = config;
  if (positions === "rope" || source === "huggingface" || source === "tricera")
    return { ...config, posInterpolation: huggingFacePositions(config) };
  if (source === "timm" || registers > 0) return { ...config, posInterpolation: "size-antialias" };
  return { ...config, posInterpolation: "meta-offset" };
}

/** Throws ConfigError for names of another generation than the network. */
function checkDialect({ contents, place }: Found, config: ViTConfig): void {
  const { dialect } = contents;
  const isRope = dialect === "hf-dinov3" || dialect === "timm-rope";
  if (dialect === "meta" || isRope === (config.positions === "rope")) return;
  throw new ConfigError(
    `Cannot open "${place.file}": its names are those of a network with ${isRope ? "rotary" : "learned"} positions, the architecture has others; choose the architecture of these weights`,
    { keyPath: "arch" },
  );
}

/** Reads what the network needs, all keys checked before the first value is read. */
async function readTensors({ contents, periods, place: { file } }: Found, config: ViTConfig): Promise<NamedTensors> {
  const { dialect } = contents;
  const links = vitLinks(config, dialect);
  checkKeys(contents.shapes, links, { dialect, file });
  if (periods !== undefined) checkPeriods(config, periods, file);
  const stored = new Map<string, HostTensor>();
  const masks = [...contents.shapes.keys()].filter((name) => name.endsWith(".bias_mask"));
  for (const name of [...storedShapes(links).keys(), ...masks]) {
    const tensor = await contents.read(name);
    if (tensor !== undefined) stored.set(name, tensor);
  }
  return fromDialect(stored, config, { dialect, file });
}

async function openPlace({ file }: Place): Promise<TensorSource> {
  return file.endsWith(".index.json") ? openShards(file, await readJson(file)) : openTensors(file);
}

async function readProcessor(dir: string | undefined): Promise<object | undefined> {
  const file = join(dir ?? "", "preprocessor_config.json");
  if (dir === undefined || !(await isFile(file))) return undefined;
  const content = await readJson(file);
  if (typeof content === "object" && content !== null && !Array.isArray(content)) return content;
  throw new FormatError(`Cannot open model: "${file}" is no object; download or export it again`, { file });
}

/**
 * Reads a backbone: a Hugging Face folder (`ViTModel`, `Dinov2Model`, `Dinov2WithRegistersModel`, `DINOv3ViTModel`; whole or sharded), a run
 * folder (`exported/best`, else `exported/last`), or a file of tensors under Meta's, Hugging Face's or timm's names and any prefix. Values of
 * float32, float16, bfloat16 and float64 are given as float32. Throws FormatError for damaged files and, in one message, for all keys that
 * are missing, extra or wrongly shaped; ConfigError where a bare file does not tell its architecture.
 */
export async function readBackbone(path: string, { arch }: ReadBackboneOptions = {}): Promise<Backbone> {
  const place = await findWeights(path);
  const described = place.dir === undefined ? undefined : await describedConfig(place.dir);
  await using opened = await openPlace(place);
  const contents = new Contents(opened);
  const found: Found = { contents, periods: await contents.read("rope_embed.periods"), place };
  const source = described === undefined ? bareSource(found, arch) : place.isRun ? "tricera" : "huggingface";
  const config = withPositions(described ?? bareConfig(found, arch), source);
  checkDialect(found, config);
  const tensors = await readTensors(found, config);
  return { config, tensors, source, processor: await readProcessor(place.dir), file: place.file };
}
