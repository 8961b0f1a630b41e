/** @file `tricera models convert`: weights from one format and naming to another. */
import { basename } from "node:path";
import type * as Weights from "../../weights/index.ts";
import { type Command, defineCommand } from "../command.ts";
import { loadRoom } from "../library.ts";
import { choice, flag, type OptionValues, text } from "../options.ts";
import { need } from "../parse-args.ts";
import { ProgressLine } from "../progress-line.ts";
import { formatBytes, formatCount } from "./models-format.ts";
import { withBareWord } from "./models-id.ts";

const TARGETS = ["hf", "timm", "meta", "safetensors"] as const;

const OPTIONS = {
  src: text("SRC", "a file of weights, a model's folder, a run, or a model in the cache by its name; `--src` may be left out"),
  arch: text("PRESET", "architecture of a bare file; default: told by its shapes"),
  to: choice(TARGETS, "what to write"),
  out: text("PATH", "a folder, or a file that ends in .safetensors"),
  overwrite: flag("replace what is there"),
};

/** What the library gets. */
function convertOptionsOf(values: OptionValues<typeof OPTIONS>): { readonly src: string; readonly options: Weights.ConvertOptions } {
  const src = need(values.src, "src", "it says what to convert");
  const to = need(values.to, "to", `it says what to write (${TARGETS.join(", ")})`);
  const out = need(values.out, "out", "it says where to write");
  return { src, options: { to, out, arch: values.arch, overwrite: values.overwrite === true } };
}

const OWNERS: { readonly [K in Weights.BackboneSource]: string } = {
  huggingface: "Hugging Face's",
  meta: "Meta's",
  timm: "timm's",
  tricera: "a run's",
};

/** What was written, what was checked, and what the target has no place for. */
export function formatConverted(result: Weights.ConvertResult): string {
  const { file, source, architecture, parameters, out, to, tensors, sizeBytes, checked, leftOut } = result;
  const what = architecture ?? "a network of no preset";
  return [
    `${basename(file)}: ${what}, ${OWNERS[source]} weights, ${formatCount(parameters)} parameters`,
    `wrote ${out} (${to}): ${tensors} tensors, ${formatBytes(sizeBytes)}`,
    `checked: ${checked} tensors read again, all equal bit by bit`,
    ...(leftOut.length === 0 ? [] : [`left out, since ${to} has no place for it: ${leftOut.join(", ")}`]),
    "",
  ].join("\n");
}

export const modelsConvertCommand: Command = withBareWord(
  defineCommand({
    name: "models convert",
    summary: "weights to a folder for transformers or timm, to Meta's names, or to safetensors",
    about: [
      "hf and timm write a folder that the library opens (timm: or a file of its names alone); meta writes a file of Meta's names and buffers;",
      "safetensors keeps names and values and changes the file format. The result is read again and compared before it takes its place.",
    ].join("\n"),
    examples: [
      "tricera models convert dino_deitsmall16_pretrain.pth --arch dino_vits16 --to hf --out dino-s16/",
      "tricera models convert facebook/dinov2-small --to timm --out dinov2-small-timm/",
      "tricera models convert runs/v3 --to meta --out v3.safetensors",
      "tricera models convert checkpoint.pth --to safetensors --out backbone.safetensors",
    ],
    options: OPTIONS,
    run: async (values, { terminal, signal }) => {
      const { src, options } = convertOptionsOf(values);
      const { convertModel } = await loadRoom(import("../../weights/index.ts"));
      const line = new ProgressLine(terminal);
      try {
        const result = await convertModel(src, { ...options, signal, onProgress: line.onProgress, onNotice: (said) => line.note(said) });
        line.done();
        terminal.out(values.json === true ? `${JSON.stringify(result)}\n` : formatConverted(result));
        return 0;
      } finally {
        line.done();
      }
    },
  }),
  { name: "src", options: OPTIONS },
);
