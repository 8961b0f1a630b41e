/** @file `tricera models list`: every network that has a name, where its weights lie and which of them are in the cache. */
import { backboneDepth, backboneWidth, isViT, patchSizeOf } from "../../nn/index.ts";
import type * as Hub from "../../weights/hub/index.ts";
import { type Command, defineCommand } from "../command.ts";
import { loadRoom, loadTrainRoom } from "../library.ts";
import { formatCount, formatTable } from "./models-format.ts";

/** The room of released models, loaded when a command needs it. */
export function loadHub(): Promise<typeof Hub> {
  return loadRoom(import("../../weights/hub/index.ts"));
}

/** A line of the list. */
export interface ListedModel {
  readonly id: string;
  readonly aliases: readonly string[];
  readonly parameters: number;
  /** Pixels along a side of a patch; the stride of a convolutional network's last map. */
  readonly patchSizePx: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number | undefined;
  /** Of the released weights; null where there are none. */
  readonly licence: string | null;
  /** Names that `models pull` takes, those of Meta's files with their address. */
  readonly weights: readonly { readonly id: string; readonly url: string; readonly cached: string | null }[];
}

async function listed(hub: typeof Hub, entry: Hub.CatalogueEntry): Promise<ListedModel> {
  const { id, aliases, config, licence } = entry;
  const endpoint = hub.endpointOf();
  const sources = [...entry.hub.map((name) => ({ id: name, url: `${endpoint}/${name}` })), ...entry.originals];
  const weights = sources.map(async ({ id: name, url }) => ({ id: name, url, cached: (await hub.resolveCached(name)) ?? null }));
  return {
    id,
    aliases,
    parameters: hub.countParameters(config),
    patchSizePx: patchSizeOf(config),
    width: backboneWidth(config),
    depth: backboneDepth(config),
    heads: isViT(config) ? config.heads : undefined,
    licence: licence === undefined ? null : hub.LICENCES[licence].name,
    weights: await Promise.all(weights),
  };
}

/** Small networks that only training knows. */
async function trainable(known: ReadonlySet<string>): Promise<readonly ListedModel[]> {
  const { ARCH_PRESETS } = await loadTrainRoom();
  return ARCH_PRESETS.filter(({ name }) => !known.has(name)).map(({ name, parameters, patchSizePx, width, depth, heads }) => ({
    id: name,
    aliases: [],
    parameters,
    patchSizePx,
    width,
    depth,
    heads,
    licence: null,
    weights: [],
  }));
}

/** Every network that has a name. */
export async function listModels(): Promise<readonly ListedModel[]> {
  const hub = await loadHub();
  const released = await Promise.all(hub.CATALOGUE.map((entry) => listed(hub, entry)));
  return [...(await trainable(new Set(hub.catalogueNames()))), ...released];
}

/** What stands in the last column: the authors' names of the weights, or that there are none. */
function pullNames({ weights }: ListedModel): string {
  const names = weights.filter(({ id }) => !id.startsWith("timm/")).map(({ id, cached }) => (cached === null ? id : `${id} (cached)`));
  return names.length === 0 ? "none: to train from scratch" : names.join(", ");
}

function formatList(models: readonly ListedModel[]): string {
  const head = ["id", "parameters", "patch", "licence", "weights: names for `models pull`"];
  const rows = models.map((m) => [m.id, formatCount(m.parameters), String(m.patchSizePx), m.licence ?? "-", pullNames(m)]);
  return `${formatTable([head, ...rows])}\nShort names: \`vit_tiny_patch16\` is dino_vitt16, \`convnext_tiny\` is dinov3_convnext_tiny, and so on.\n\`tricera models info ID\` shows aliases, timm's repositories, cost and licence of one.\n`;
}

export const modelsListCommand: Command = defineCommand({
  name: "models list",
  summary: "the networks that have names, with sizes, licences and weights",
  about:
    "Ids are those of `train --model` too, where any patch size may follow `_patch`; `--set model.width=...` and the like change a preset.",
  examples: ["tricera models list", "tricera models list --json"],
  options: {},
  run: async (values, { terminal }) => {
    const models = await listModels();
    terminal.out(values.json === true ? `${JSON.stringify(models)}\n` : formatList(models));
    return 0;
  },
});
