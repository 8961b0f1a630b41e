/** @file A ViT's configuration and tensors, from the contents of its file and what is said of them. */
import { ConfigError, type HostTensor } from "../../core/index.ts";
import type { ViTConfig } from "../../nn/index.ts";
import {
  adjustToShapes,
  checkKeys,
  checkPeriods,
  type Dialect,
  inferViT,
  maskBiases,
  published,
  TABLES,
  vitLinks,
} from "../names/index.ts";
import type { Contents } from "./contents.ts";
import { huggingFacePositions } from "./hf-config.ts";
import { type Asked, type BackboneSource, type LazyTensors, type Opened, type OpenNetwork, readParams } from "./backbone.ts";

interface Found {
  readonly contents: Contents;
  readonly dialect: Dialect;
  readonly file: string;
  readonly periods: HostTensor | undefined;
}

/** Architecture of a bare file: named, or inferred. */
function bareConfig({ contents: { shapes }, dialect, file, periods }: Found, named: ViTConfig | undefined): ViTConfig {
  const options = { dialect, file, periods };
  if (named === undefined) return inferViT(shapes, options);
  return adjustToShapes(TABLES[dialect].naming === "meta" ? named : published(named), shapes, options);
}

/** Whose a bare file is, by its names; DINO's own and timm's are the same, so the architecture's name may tell. */
function bareSource(dialect: Dialect, name: string | undefined): BackboneSource {
  if (name !== undefined && /\.(?:dino|lvd142m|lvd1689m|sat493m)$/.test(name)) return "timm";
  return TABLES[dialect].naming;
}

function withPositions(config: ViTConfig, source: BackboneSource): ViTConfig {
  const { registers = 0, positions } = config;
  if (positions === "rope" || source === "huggingface" || source === "tricera")
    return { ...config, posInterpolation: huggingFacePositions(config) };
  if (source === "timm" || registers > 0) return { ...config, posInterpolation: "size-antialias" };
  return { ...config, posInterpolation: "meta-offset" };
}

/** Throws ConfigError for names of another generation than the network. */
function checkDialect({ dialect, file }: Found, config: ViTConfig): void {
  const isRope = dialect === "hf-dinov3" || dialect === "timm-rope";
  if (dialect === "meta" || isRope === (config.positions === "rope")) return;
  throw new ConfigError(
    `Cannot open "${file}": its names are those of a network with ${isRope ? "rotary" : "learned"} positions, the architecture has others; choose the architecture of these weights`,
    { keyPath: "arch" },
  );
}

/** What the network needs, all keys checked before the first value is read. */
function paramsOf({ contents, dialect, file, periods }: Found, config: ViTConfig): LazyTensors {
  const links = vitLinks(config, dialect);
  checkKeys(contents.shapes, links, { dialect, file });
  if (periods !== undefined) checkPeriods(config, periods, file);
  const params = contents.params(links);
  if (dialect !== "meta") return params;
  const read = async (name: string): Promise<HostTensor> => {
    const out = new Map([[name, await params.read(name)]]);
    maskBiases(out, await contents.readAll([`${name}_mask`]), { file });
    return out.get(name)!; // set above
  };
  return { shapes: params.shapes, read };
}

/** A ViT whose tensors are read when asked for. Throws FormatError for tensors that do not fit, ConfigError where nothing tells the architecture. */
export async function lazyViT(contents: Contents, dialect: Dialect, asked: Asked<ViTConfig>): Promise<OpenNetwork> {
  const { file, described, named, name } = asked;
  const found: Found = { contents, dialect, file, periods: await contents.read("rope_embed.periods") };
  const source = asked.source ?? bareSource(dialect, name);
  const config = withPositions(described ?? bareConfig(found, named), source);
  checkDialect(found, config);
  return { config, source, params: paramsOf(found, config) };
}

/** `lazyViT` with its tensors in memory. */
export async function openViT(contents: Contents, dialect: Dialect, asked: Asked<ViTConfig>): Promise<Opened> {
  return await readParams(await lazyViT(contents, dialect, asked));
}
