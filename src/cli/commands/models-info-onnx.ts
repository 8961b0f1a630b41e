/** @file `tricera models info` of an ONNX file, or of a folder with one: what goes in, what comes out, what it weighs. */
import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type * as Onnx from "../../weights/onnx/index.ts";
import { loadRoom } from "../library.ts";
import { formatBytes, formatTable } from "./models-format.ts";

/** An input or output; sizes that are open by their names. */
interface Port {
  readonly name: string;
  readonly dtype: string | null;
  readonly shape: readonly (number | string)[] | null;
}

/** What an ONNX file is, as `--json` gives it. */
export interface OnnxModelInfo {
  readonly file: string;
  readonly producer: string;
  readonly opset: number | null;
  readonly otherOperators: readonly string[];
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** Numbers by element type. */
  readonly weights: Readonly<Record<string, number>>;
  /** Bytes of the file and of those that its weights lie in. */
  readonly files: Readonly<Record<string, number>>;
  /** The network, where one of our exports says so. */
  readonly network: unknown;
}

function loadOnnx(): Promise<typeof Onnx> {
  return loadRoom(import("../../weights/onnx/index.ts"));
}

const portOf = ({ name, dtype, shape }: Onnx.OnnxPort): Port => ({ name, dtype: dtype ?? null, shape: shape ?? null });

/** What an ONNX file says; undefined where the path is none. Throws FormatError for a damaged one. */
export async function onnxModelInfo(path: string): Promise<OnnxModelInfo | undefined> {
  if ((await stat(path).catch(() => undefined)) === undefined) return undefined;
  const { findOnnx, metadataJson, readOnnxFile } = await loadOnnx();
  const place = await findOnnx(path);
  if (place === undefined) return undefined;
  const { info, externalFiles } = await readOnnxFile(place.file);
  const names = [basename(place.file), ...externalFiles];
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(dirname(place.file), name))).size));
  return {
    file: place.file,
    producer: info.producer,
    opset: info.opset ?? null,
    otherOperators: info.domains,
    inputs: info.inputs.map(portOf),
    outputs: info.outputs.map(portOf),
    weights: Object.fromEntries(info.weights),
    files: Object.fromEntries(names.map((name, i) => [name, sizes[i] ?? 0])),
    network: metadataJson(info, "tricera.config") ?? null,
  };
}

function portText({ name, dtype, shape }: Port): string {
  return `${name} ${dtype ?? "no tensor"}${shape === null ? "" : `[${shape.map((size) => (size === "" ? "?" : size)).join(", ")}]`}`;
}

/** For people. */
export function formatOnnxInfo(info: OnnxModelInfo): string {
  const { file, producer, opset, otherOperators, inputs, outputs, weights, files, network } = info;
  const sets = [opset === null ? "none" : String(opset), ...otherOperators].join(", ");
  const counts = Object.entries(weights).map(([dtype, count]) => `${count.toLocaleString("en-US")} ${dtype}`);
  const rows = [
    ["  written by", producer === "" ? "unknown" : producer],
    ["  operator set", sets],
    ...inputs.map((port) => ["  input", portText(port)]),
    ...outputs.map((port) => ["  output", portText(port)]),
    ["  weights", counts.join(", ") || "none"],
    ...Object.entries(files).map(([name, bytes]) => ["  file", `${name}, ${formatBytes(bytes)}`]),
    ...(network === null ? [] : [["  network", JSON.stringify(network)]]),
  ];
  return `${file}\n${formatTable(rows)}`;
}
