/** @file `tricera models info`: what one model is, costs and allows, and where its weights lie. */
import { sep } from "node:path";
import { nameHint, UsageError } from "../../core/index.ts";
import { isViT, patchSizeOf } from "../../nn/index.ts";
import type * as Hub from "../../weights/hub/index.ts";
import { type Command, defineCommand } from "../command.ts";
import { integer, type Option, type OptionValues, text } from "../options.ts";
import { need } from "../parse-args.ts";
import { loadHub } from "./models.ts";
import { formatBytes, formatCount, formatTable } from "./models-format.ts";
import { withBareWord } from "./models-id.ts";
import { formatOnnxInfo, onnxModelInfo } from "./models-info-onnx.ts";

const sizePx = integer("PX", "", { min: 1 });
const sizes: Option<readonly number[]> = {
  kind: "repeated",
  placeholder: "PX",
  help: "square pictures of this size; default: a few common ones",
  read: (value, name) => [sizePx.read(value, name)],
};

const OPTIONS = {
  id: text("ID", "the model, by any of its names, or an ONNX file or folder; `--id` may be left out"),
  "image-size": sizes,
};

/** Sizes that papers give numbers for; those that a patch divides. */
const COMMON_PX = [224, 256, 448, 512, 518];

/** What one model is, as `--json` gives it. */
export interface ModelInfo {
  readonly id: string;
  readonly aliases: readonly string[];
  readonly parameters: number;
  readonly patchSizePx: number;
  readonly weightBytes: number;
  readonly cost: readonly Hub.ForwardCost[];
  readonly licence: Hub.Licence | null;
  readonly weights: readonly {
    readonly id: string;
    readonly url: string;
    /** About; the exact size where it is in the cache. */
    readonly downloadBytes: number;
    readonly cached: string | null;
  }[];
}

async function weightsOf(hub: typeof Hub, entry: Hub.CatalogueEntry, about: number): Promise<ModelInfo["weights"]> {
  const inCache = await hub.listCache();
  const endpoint = hub.endpointOf();
  const sources = [...entry.hub.map((id) => ({ id, url: `${endpoint}/${id}` })), ...entry.originals.map(({ id, url }) => ({ id, url }))];
  return Promise.all(
    sources.map(async ({ id, url }) => {
      const cached = (await hub.resolveCached(id)) ?? null;
      const here = inCache.find((model) => cached === model.path || cached?.startsWith(`${model.path}${sep}`) === true);
      return { id, url, downloadBytes: here?.sizeBytes ?? about, cached };
    }),
  );
}

/** Everything that is known of a model without its weights. Throws UsageError for a name that no model has, ConfigError for sizes that do not fit. */
export async function modelInfo(name: string, imageSizesPx: readonly number[] = []): Promise<ModelInfo> {
  const hub = await loadHub();
  const entry = hub.findEntry(name);
  if (entry === undefined)
    throw new UsageError(`Cannot describe "${name}": no model has that name; ${nameHint(name, hub.catalogueNames())}`);
  const { id, aliases, config, licence } = entry;
  const weightBytes = hub.weightBytes(config);
  const fitting = COMMON_PX.filter((px) => !isViT(config) || px % config.patchSizePx === 0);
  const wanted = imageSizesPx.length > 0 ? [...new Set(imageSizesPx)].toSorted((a, b) => a - b) : fitting;
  return {
    id,
    aliases,
    parameters: hub.countParameters(config),
    patchSizePx: patchSizeOf(config),
    weightBytes,
    cost: wanted.map((px) => hub.countForward(config, px)),
    licence: licence === undefined ? null : hub.LICENCES[licence],
    weights: await weightsOf(hub, entry, weightBytes),
  };
}

function formatCost({ cost, weightBytes }: ModelInfo): string {
  const rows = cost.map(({ imageSizePx, tokens, flop, activationBytes }) => [
    `  ${imageSizePx} px`,
    String(tokens),
    (flop / 1e9).toFixed(1),
    formatBytes(activationBytes),
    formatBytes(weightBytes + activationBytes),
  ]);
  return formatTable([["  picture", "tokens", "GFLOP", "activations", "with weights, f32"], ...rows]);
}

function formatWeights({ weights }: ModelInfo): string {
  if (weights.length === 0) return "  none were released: train it from scratch\n";
  const rows = weights.map(({ id, url, downloadBytes, cached }) => [
    `  ${id}`,
    cached === null ? `about ${formatBytes(downloadBytes)}` : formatBytes(downloadBytes),
    cached ?? url,
  ]);
  return formatTable(rows);
}

function formatInfo(info: ModelInfo): string {
  const { id, aliases, parameters, patchSizePx, weightBytes, licence } = info;
  const terms =
    licence === null ? ["  -"] : [`  ${licence.name}, ${licence.url}`, `  allows ${licence.allows}`, `  wants: ${licence.wants}`];
  return [
    `${id}`,
    `  also: ${aliases.join(", ") || "-"}`,
    `  ${parameters.toLocaleString("en-US")} parameters (${formatCount(parameters)}), ${formatBytes(weightBytes)} in f32; patches of ${patchSizePx} px`,
    "",
    "Cost of one picture, by formula (GFLOP = 2 · multiply-accumulates; activations: the largest tensors at once)",
    formatCost(info),
    "Licence of the weights (a summary, no legal advice)",
    ...terms,
    "",
    "Weights (names for `models pull`)",
    formatWeights(info),
  ].join("\n");
}

/** What the command line says. */
function infoOptionsOf(values: OptionValues<typeof OPTIONS>): { readonly id: string; readonly imageSizesPx: readonly number[] } {
  return { id: need(values.id, "id", "it says which model"), imageSizesPx: values["image-size"] ?? [] };
}

export const modelsInfoCommand: Command = withBareWord(
  defineCommand({
    name: "models info",
    summary: "parameters, GFLOP, memory, licence and weights of a model; inputs and outputs of an ONNX file",
    examples: [
      "tricera models info dinov3_vits16plus",
      "tricera models info facebook/dinov2-small --image-size 224 --image-size 518",
      "tricera models info first.onnx",
    ],
    options: OPTIONS,
    run: async (values, { terminal }) => {
      const { id, imageSizesPx } = infoOptionsOf(values);
      const onnx = await onnxModelInfo(id);
      if (onnx !== undefined) {
        if (imageSizesPx.length > 0) throw new UsageError(`Cannot give the cost of "${id}": it is a graph; leave --image-size out`);
        terminal.out(values.json === true ? `${JSON.stringify(onnx)}\n` : formatOnnxInfo(onnx));
        return 0;
      }
      const info = await modelInfo(id, imageSizesPx);
      terminal.out(values.json === true ? `${JSON.stringify(info)}\n` : formatInfo(info));
      return 0;
    },
  }),
  { name: "id", options: OPTIONS },
);
