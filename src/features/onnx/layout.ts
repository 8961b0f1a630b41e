/** @file What is known of the network in an ONNX graph: its patches, its tokens, their width. */
import { z } from "zod";
import { FormatError } from "../../core/index.ts";
import { type BackboneConfig, backboneWidth, gridSideOf, isViT, patchSizeOf, prefixTokens } from "../../nn/index.ts";
import type { OnnxInfo, OnnxPort } from "../../weights/onnx/index.ts";
import type { OnnxPorts } from "./ports.ts";

/** The tokens of a picture, as the graph gives them. */
export interface OnnxLayout {
  readonly patchSizePx: number;
  /** Numbers in a token. */
  readonly width: number;
  /** Tokens before the patches that are given. */
  readonly prefix: number;
  readonly heads: number;
  /** Patches along a side. */
  readonly gridSide: (sizePx: number) => number;
}

const whole = z.int().min(1).max(1e6);
const ownSchema = z.union([
  z.object({
    imageSizePx: whole,
    patchSizePx: whole,
    width: whole,
    depth: whole,
    heads: whole,
    registers: z.int().min(0).max(1e4).optional(),
    channels: whole.optional(),
    positions: z.string().optional(),
  }),
  z.object({
    family: z.literal("convnext"),
    widths: z.array(whole).length(4),
    depths: z.array(whole).length(4),
    channels: whole.optional(),
  }),
  z.object({
    family: z.literal("resnet"),
    block: z.enum(["basic", "bottleneck"]),
    width: whole,
    depths: z.array(whole).length(4),
    channels: whole.optional(),
  }),
]);

/** The configuration that our exports carry. Throws FormatError for one that is none. */
export function readOwnConfig(raw: unknown, path: string): BackboneConfig {
  const parsed = ownSchema.safeParse(raw);
  if (parsed.success) return raw as BackboneConfig; // what is read of it was just checked
  throw new FormatError(`Cannot open "${path}": its entry "tricera.config" describes no network; export it again`, { file: path });
}

function lastSize(port: OnnxPort | undefined): number | undefined {
  const size = port?.shape?.at(-1);
  return typeof size === "number" ? size : undefined;
}

/** Registers that the graph gives beside the class token. */
function registersOf({ outputs }: OnnxPorts, all: number): number {
  if (outputs.has("last_hidden_state") || outputs.has("registers")) return all;
  return 0;
}

/** By the network's own configuration. Throws FormatError where the graph's outputs have another width. */
export function layoutOf(config: BackboneConfig, { info, ports }: { readonly info: OnnxInfo; readonly ports: OnnxPorts }): OnnxLayout {
  const width = backboneWidth(config);
  for (const [name, port] of ports.outputs) {
    const size = name === "attention" ? undefined : lastSize(port);
    const wanted = name === "cls+mean" ? 2 * width : width;
    if (size !== undefined && size !== wanted)
      throw new FormatError(
        `Cannot open "${info.path}": tokens of ${name} have ${size} numbers, by its configuration ${wanted}; give the config.json it was exported with, or another --arch`,
        { file: info.path },
      );
  }
  return {
    patchSizePx: patchSizeOf(config),
    width,
    prefix: 1 + registersOf(ports, isViT(config) ? prefixTokens(config) - 1 : 0),
    heads: isViT(config) && ports.outputs.has("attention") ? config.heads : 0,
    gridSide: (sizePx) => gridSideOf(config, sizePx),
  };
}

/** What one run of a picture gave: shapes by output. */
export interface Probe {
  readonly sizePx: number;
  readonly shapes: ReadonlyMap<string, readonly number[]>;
}

/** Side of a patch, if the graph begins with a convolution by patches. */
export function patchOf({ convolution }: OnnxInfo): number | undefined {
  const [y, x] = convolution?.kernel ?? [];
  const [down, right] = convolution?.strides ?? [];
  return y !== undefined && y > 0 && y === x && y === down && y === right ? y : undefined;
}

/** By the graph alone: patches by its first convolution, the rest by what it gave of one picture. Throws FormatError where that does not tell. */
export function layoutFromRun(info: OnnxInfo, { sizePx, shapes }: Probe): OnnxLayout {
  const fail = (state: string): never => {
    throw new FormatError(`Cannot open "${info.path}": ${state}; name the network by --arch, or put its config.json beside the file`, {
      file: info.path,
    });
  };
  const patch = patchOf(info) ?? fail("nothing says how large its patches are");
  const [[, first] = ["", []]] = shapes;
  const width = first.at(-1) ?? fail("its outputs have no width");
  const heads = shapes.get("attention")?.[1] ?? 0;
  return {
    patchSizePx: patch,
    width,
    prefix: prefixBy(shapes, Math.floor(sizePx / patch) ** 2, fail),
    heads,
    gridSide: (px) => px / patch,
  };
}

/** Tokens before the patches, of which a class token is expected. */
function prefixBy(shapes: Probe["shapes"], patches: number, fail: (state: string) => never): number {
  const all = shapes.get("last_hidden_state");
  if (all === undefined) return 1 + (shapes.get("registers")?.[1] ?? 0);
  const tokens = all[1] ?? 0;
  if (all.length === 3 && tokens > patches) return tokens - patches;
  return fail(`it gives last_hidden_state [${all.join(", ")}] where ${patches} patches and a class token were expected`);
}
