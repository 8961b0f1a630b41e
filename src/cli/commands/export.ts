/** @file `tricera export`: a model as a file or a folder that others run. */
import { UsageError } from "../../core/index.ts";
import { type Command, type CommandContext, defineCommand, MACHINE } from "../command.ts";
import { formatResult, printResult, runJob } from "../library.ts";
import { choice, flag, integer, type OptionValues, text } from "../options.ts";
import { atMostOne, need, parseArgs } from "../parse-args.ts";
import { MODEL } from "./shared-options.ts";

const FORMATS = ["onnx", "safetensors", "hf"] as const;
const DTYPES = ["f32", "f16", "int8"] as const;

const OPTIONS = {
  ...MODEL,
  out: text("FILE", "what to write: a .onnx or .safetensors file; with --format hf a folder"),
  format: choice(FORMATS, "onnx, weights as safetensors, or a folder for transformers and transformers.js; default: onnx"),
  "image-size": integer("PX", "side of the pictures it takes; default: the model's own", { min: 1 }),
  "batch-size": integer("N", "pictures at once; default: any number", { min: 1 }),
  dynamic: flag("take pictures of any height and width that are whole patches (of a ConvNeXt: multiples of 32; of a ResNet: any)"),
  dtype: choice(DTYPES, "how weights are stored; it computes in f32; int8: a scale for each output channel; default: f32"),
  "external-data": flag("write weights to FILE_data beside the graph; so it is in any case where they take 2 GiB or more"),
  outputs: text("A,B", "last_hidden_state, pooler_output, cls, registers, patches, mean, cls+mean, attention; default: cls,patches"),
  check: flag("run what was written against the source and print how far it is from it; on unless --no-check is given"),
  "no-check": flag("leave that out"),
  overwrite: flag("replace what is there"),
  ...MACHINE,
};

/** What `exportModel()` of the library is told by the command line. */
export interface ExportCommandOptions {
  readonly model: string;
  readonly arch: string | undefined;
  readonly out: string;
  readonly format: (typeof FORMATS)[number];
  readonly imageSizePx: number | undefined;
  readonly batchSize: number | undefined;
  readonly dynamic: boolean;
  readonly dtype: (typeof DTYPES)[number];
  readonly externalData: boolean;
  readonly outputs: readonly string[] | undefined;
  readonly check: boolean;
  readonly overwrite: boolean;
  readonly threads: number | undefined;
  readonly seed: number | undefined;
}

function toExportOptions(values: OptionValues<typeof OPTIONS>): ExportCommandOptions {
  atMostOne(values, ["check", "no-check"]);
  const outputs = values.outputs?.split(",").map((name) => name.trim());
  if (outputs?.includes("") === true)
    throw new UsageError(`Cannot use --outputs "${values.outputs}": a name is empty; write names with commas between them`);
  return {
    model: need(values.model, "model", "there is no network to export"),
    arch: values.arch,
    out: need(values.out, "out", "the export is written to a file or a folder"),
    format: values.format ?? "onnx",
    imageSizePx: values["image-size"],
    batchSize: values["batch-size"],
    dynamic: values.dynamic ?? false,
    dtype: values.dtype ?? "f32",
    externalData: values["external-data"] ?? false,
    outputs,
    check: values["no-check"] !== true,
    overwrite: values.overwrite ?? false,
    threads: values.threads,
    seed: values.seed,
  };
}

/** `exportModel()`'s options from an argument list. */
export function exportOptionsOf(argv: readonly string[]): ExportCommandOptions {
  return toExportOptions(parseArgs(argv, OPTIONS));
}

/** The parts of a result that people read; scripts get all by --json. */
interface Shown {
  readonly out: string;
  readonly files: Readonly<Record<string, number>>;
  readonly opset?: number;
  readonly inputs: Readonly<Record<string, readonly (number | string)[]>>;
  readonly outputs: Readonly<Record<string, readonly (number | string)[]>>;
  readonly check?: { readonly maxAbsError: number; readonly worstCosine: number; readonly pictures: number };
}

const readable = (bytes: number): string =>
  bytes < 2 ** 20 ? `${(bytes / 2 ** 10).toFixed(1)} KiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function formatExport(result: unknown): string {
  const { out, files, opset, inputs, outputs, check } = result as Shown; // what exportModel() gives
  const sizes = (named: Shown["inputs"]): string[] => Object.entries(named).map(([name, shape]) => `${name} [${shape.join(", ")}]`);
  const lines = {
    out,
    files: Object.entries(files)
      .map(([name, bytes]) => (name === out ? readable(bytes) : `${name} ${readable(bytes)}`))
      .join(", "),
    ...(opset === undefined ? {} : { opset, input: sizes(inputs).join(", "), outputs: sizes(outputs).join(", ") }),
    ...(check === undefined
      ? { check: "left out" }
      : {
          "max abs error": check.maxAbsError.toExponential(2),
          "worst cosine": check.worstCosine.toFixed(8),
          "checked with": `${check.pictures} pictures of noise`,
        }),
  };
  return formatResult(lines);
}

async function run(values: OptionValues<typeof OPTIONS> & { readonly json?: true }, context: CommandContext): Promise<number> {
  const result = await runJob("exportModel", toExportOptions(values), context);
  printResult(result, { json: values.json ?? false, context, format: formatExport });
  return 0;
}

export const exportCommand: Command = defineCommand({
  name: "export",
  summary: "write a model as ONNX, as safetensors, or as a folder for transformers and transformers.js",
  about: `The graph has ONNX's own operators only (opset 18), so that ONNX Runtime in Python, Node and browsers runs it; its input is
pixel_values, pictures as the model's preprocessing makes them. What was written is run on pictures of noise against the source; where it is
too far from it, nothing is left. --format hf adds onnx/model.onnx (f16: onnx/model_fp16.onnx, int8: onnx/model_quantized.onnx). A .onnx file can be given to --model of embed, eval and models info.`,
  examples: [
    "tricera export --model runs/first --image-size 224 --out first.onnx",
    "tricera export --model facebook/dinov2-small --dynamic --dtype int8 --outputs cls,patches,attention --out small.onnx",
    "tricera export --model runs/first --format hf --out first-hf",
  ],
  options: OPTIONS,
  run,
});
