/** @file Whether an ONNX graph is one from pictures to tokens: what goes in, what comes out. */
import { FormatError } from "../../core/index.ts";
import type { OnnxInfo, OnnxPort } from "../../weights/onnx/index.ts";
import { OUTPUT_NAMES, type OutputName, outputShapes } from "../export/outputs.ts";

/** What a graph takes; undefined where a size is open. */
export interface OnnxInput {
  readonly name: string;
  readonly batch: number | undefined;
  readonly channels: number | undefined;
  readonly height: number | undefined;
  readonly width: number | undefined;
}

export interface OnnxPorts {
  readonly input: OnnxInput;
  /** Those of `OUTPUT_NAMES` that the graph gives. */
  readonly outputs: ReadonlyMap<OutputName, OnnxPort>;
}

/** A batch first. */
const AXES = Object.fromEntries(
  Object.entries(outputShapes({ width: 1, prefix: 1, patches: 1, heads: 1 })).map(([name, shape]) => [name, 1 + shape.length]),
) as { readonly [K in OutputName]: number }; // of the same keys

/** `pixel_values float32[batch, 3, 224, 224]`. */
export function portText({ name, dtype, shape }: OnnxPort): string {
  const sizes = shape?.map((size) => (size === "" ? "?" : size)).join(", ");
  return dtype === undefined ? `${name} (no tensor)` : `${name} ${dtype}${sizes === undefined ? "" : `[${sizes}]`}`;
}

function fail(info: OnnxInfo, state: string, todo: string): never {
  throw new FormatError(`Cannot open "${info.path}": ${state}; ${todo}`, { file: info.path });
}

function sizeAt({ shape }: OnnxPort, axis: number): number | undefined {
  const size = shape?.[axis];
  return typeof size === "number" ? size : undefined;
}

/** The one input. Throws FormatError for others than pictures `[b, c, y, x]` of float32. */
function inputOf(info: OnnxInfo): OnnxInput {
  const [input, ...more] = info.inputs;
  if (input === undefined) return fail(info, "it takes no input", "give a graph whose input is pixel_values");
  if (more.length > 0)
    fail(info, `it wants ${info.inputs.map(portText).join(" and ")}`, "export it again with pixel_values as its only input");
  if (input.dtype !== "float32")
    fail(info, `its input is ${portText(input)}`, "export it again with a float32 input; weights may be float16");
  if (input.shape !== undefined && input.shape.length !== 4)
    fail(
      info,
      `its input is ${portText(input)}, pictures are [batch, channels, height, width]`,
      "give a graph whose input is pixel_values",
    );
  const [batch, channels, height, width] = [0, 1, 2, 3].map((axis) => sizeAt(input, axis));
  if (height !== undefined && width !== undefined && height !== width)
    fail(info, `it takes pictures of ${height}x${width} px (height x width), only squares are known`, "export it again for squares");
  return { name: input.name, batch, channels, height, width };
}

/** The outputs that are known by name. Throws FormatError where there is none, or one is no such tensor. */
function outputsOf(info: OnnxInfo): ReadonlyMap<OutputName, OnnxPort> {
  const found = new Map<OutputName, OnnxPort>();
  for (const name of OUTPUT_NAMES) {
    const port = info.outputs.find((output) => output.name === name);
    if (port === undefined) continue;
    if (port.dtype !== "float32")
      fail(info, `its output is ${portText(port)}`, "export it again with float32 outputs; weights may be float16");
    if (port.shape !== undefined && port.shape.length !== AXES[name])
      fail(info, `its output is ${portText(port)}, which has ${port.shape.length} axes instead of ${AXES[name]}`, "export it again");
    found.set(name, port);
  }
  if (found.size === 0)
    fail(
      info,
      `its outputs are ${info.outputs.map(portText).join(", ") || "none"}, it needs one of ${OUTPUT_NAMES.join(", ")}`,
      "export it again with its final-normed tokens as last_hidden_state",
    );
  return found;
}

/** What goes in and what comes out. Throws FormatError for a graph that is not from pictures to tokens. */
export function readPorts(info: OnnxInfo): OnnxPorts {
  return { input: inputOf(info), outputs: outputsOf(info) };
}
