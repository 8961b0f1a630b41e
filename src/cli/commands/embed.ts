/** @file `tricera embed`: features of images, written as a table. */
import { UsageError } from "../../core/index.ts";
import { type Command, defineCommand, MACHINE } from "../command.ts";
import { checkDevice, printResult, runJob } from "../library.ts";
import { choice, flag, integer, integers, type OptionValues, text } from "../options.ts";
import { need, parseArgs } from "../parse-args.ts";
import { type Alpha, dataOption, type Decode, DEVICE, IMAGES, MODEL } from "./shared-options.ts";

const SUFFIXES = [".safetensors", ".npy", ".csv", ".parquet", ".lance"] as const;
const POOLS = ["cls", "mean", "cls+mean", "gem", "patch", "registers", "all"] as const;
type Pool = (typeof POOLS)[number];
const RESIZES = ["stretch", "crop", "pad", "multiple"] as const;
type Resize = (typeof RESIZES)[number];

const OPTIONS = {
  ...MODEL,
  data: dataOption("the images"),
  out: text("FILE", `the table to write, by its suffix: ${SUFFIXES.join(", ")}`),
  pool: choice(POOLS, "which tokens make the feature; gem: generalised mean of the patches, power 3; default: cls"),
  layers: integers("-4,-1", "blocks whose output is wanted, each through the final norm, -1 the last; default: -1"),
  attention: flag("write attention of the class token over the patches, too: tensor attention of a .safetensors"),
  "image-size": integer("PX", "side of the pictures the network sees; default: its own", {
    min: 1,
  }),
  resize: choice(RESIZES, "how pictures of other shapes fit; default: as the model's processor says"),
  normalize: flag("scale every feature to length 1"),
  "batch-size": integer("N", "images at once; default: as many as the caches like, 4 at 224 px", { min: 1 }),
  overwrite: flag("replace the file if it is there"),
  threads: MACHINE.threads,
  ...IMAGES,
  ...DEVICE,
};

/** What `embed()` of the library is told by the command line. */
export interface EmbedCommandOptions {
  readonly model: string;
  readonly arch: string | undefined;
  readonly data: string;
  readonly out: string;
  readonly pool: Pool;
  readonly layers: readonly number[];
  readonly attention: boolean;
  readonly imageSizePx: number | undefined;
  readonly resize: Resize | undefined;
  readonly normalize: boolean;
  readonly batchSize: number | undefined;
  readonly overwrite: boolean;
  readonly threads: number | undefined;
  readonly decode: Decode | undefined;
  readonly alpha: Alpha | undefined;
  readonly skipBroken: boolean;
  readonly labels: string;
}

function toEmbedOptions(values: OptionValues<typeof OPTIONS>): EmbedCommandOptions {
  checkDevice(values);
  const out = need(values.out, "out", "the features are written to a file");
  if (!SUFFIXES.some((suffix) => out.endsWith(suffix)))
    throw new UsageError(`Cannot write --out "${out}": its suffix names no table format; use ${SUFFIXES.join(", ")}`);
  return {
    model: need(values.model, "model", "there is no network to embed with"),
    arch: values.arch,
    data: need(values.data, "data", "there are no images to embed"),
    out,
    pool: values.pool ?? "cls",
    layers: values.layers ?? [-1],
    attention: values.attention ?? false,
    imageSizePx: values["image-size"],
    resize: values.resize,
    normalize: values.normalize ?? false,
    batchSize: values["batch-size"],
    overwrite: values.overwrite ?? false,
    threads: values.threads,
    decode: values.decode,
    alpha: values.alpha,
    skipBroken: values["skip-broken"] ?? false,
    labels: values.labels ?? "folder",
  };
}

/** `embed()`'s options from an argument list. */
export function embedOptionsOf(argv: readonly string[]): EmbedCommandOptions {
  return toEmbedOptions(parseArgs(argv, OPTIONS));
}

export const embedCommand: Command = defineCommand({
  name: "embed",
  summary: "compute features of images",
  about: `Rows are in sorted path order. Beside FILE, FILE.json holds paths, labels, model, pool and preprocessing.
Tokens and several layers are axes of the tensor in .safetensors and .npy, [images, layers, tokens, width]; a row of .csv, .parquet
and .lance is one vector, in which layers stand side by side.
Rows are written as they come: memory does not grow with the images. A run that was stopped leaves FILE.partial; the same command
goes on from there. .lance needs \`npm install @lancedb/lancedb\`.`,
  examples: [
    "tricera embed --model runs/first --data ~/photos --out features.safetensors",
    "tricera embed --model runs/first --data ~/photos --out patches.npy --pool patch",
    "tricera embed --model runs/first --data ~/photos --out photos.parquet --pool cls+mean --layers -4,-1",
  ],
  options: OPTIONS,
  run: async (values, context) => {
    const result = await runJob("embed", toEmbedOptions(values), context);
    printResult(result, { json: values.json ?? false, context });
    return 0;
  },
});
