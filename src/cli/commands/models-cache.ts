/** @file `tricera models cache`: what was pulled, how large and how old it is; and its removal. */
import type { CachedModel } from "../../weights/hub/index.ts";
import { type Command, defineCommand } from "../command.ts";
import { choice, flag, number, type OptionValues, texts } from "../options.ts";
import { UsageError } from "../../core/index.ts";
import { loadHub } from "./models.ts";
import { formatAge, formatBytes, formatTable } from "./models-format.ts";
import { withBareWord } from "./models-id.ts";

const OPTIONS = {
  action: choice(["list", "prune"], "show the cache, or remove from it; `--action` may be left out"),
  id: texts("ID", "prune this model only"),
  "older-than": number("DAYS", "prune what was pulled longer ago only", { min: 0 }),
  unfinished: flag("prune pulls that were cut only"),
  yes: flag("remove what the listing shows"),
};

const DAY_MS = 86_400_000;

/** What a prune is limited to. */
interface PruneRules {
  readonly ids: readonly string[] | undefined;
  readonly olderThanDays: number | undefined;
  readonly unfinishedOnly: boolean;
}

/** What the command line says. Throws UsageError for rules of a prune without one. */
function cacheOptionsOf(values: OptionValues<typeof OPTIONS>): {
  readonly prune: boolean;
  readonly yes: boolean;
  readonly rules: PruneRules;
} {
  const prune = values.action === "prune";
  const given = (["id", "older-than", "unfinished", "yes"] as const).filter((name) => values[name] !== undefined);
  if (!prune && given.length > 0)
    throw new UsageError(`Cannot use --${given[0] ?? ""} here: it belongs to prune; write \`tricera models cache prune\``);
  const rules = { ids: values.id, olderThanDays: values["older-than"], unfinishedOnly: values.unfinished === true };
  return { prune, yes: values.yes === true, rules };
}

/** The models that a prune takes. Throws UsageError for an id that is not in the cache. */
function toPrune(
  models: readonly CachedModel[],
  { ids, olderThanDays = 0, unfinishedOnly }: PruneRules,
  nowMs: number,
): readonly CachedModel[] {
  const absent = ids?.find((id) => !models.some((model) => model.id === id));
  if (absent !== undefined)
    throw new UsageError(`Cannot prune "${absent}": it is not in the cache; \`tricera models cache\` shows what is`);
  const isOld = ({ pulledMs }: CachedModel): boolean => olderThanDays === 0 || nowMs - pulledMs > olderThanDays * DAY_MS;
  return models.filter((model) => (ids?.includes(model.id) ?? true) && isOld(model) && (!unfinishedOnly || model.state === "unfinished"));
}

function rowOf({ id, revision, state, sizeBytes, pulledMs }: CachedModel, nowMs: number): readonly string[] {
  const name = revision === undefined || revision === "main" ? id : `${id} at ${revision}`;
  const what = { whole: "", unfinished: "unfinished: pull it again to go on", busy: "a pull is under way" }[state];
  return [name, formatBytes(sizeBytes), formatAge(nowMs - pulledMs), what];
}

const total = (models: readonly CachedModel[]): string => formatBytes(models.reduce((n, { sizeBytes }) => n + sizeBytes, 0));

function formatModels(models: readonly CachedModel[], nowMs: number): string {
  return models.length === 0 ? "" : formatTable(models.map((model) => rowOf(model, nowMs)));
}

interface Pruned {
  readonly cacheDir: string;
  /** What the listing shows. */
  readonly models: readonly CachedModel[];
  readonly removed: readonly CachedModel[];
}

function formatPruned({ models, removed }: Pruned, { yes, nowMs }: { readonly yes: boolean; readonly nowMs: number }): string {
  if (models.length === 0) return "Nothing to remove.\n";
  if (!yes) return `Would remove:\n${formatModels(models, nowMs)}${total(models)} in all. Add --yes to remove them.\n`;
  const kept = models.length - removed.length;
  const left = kept === 0 ? "" : `${kept} stayed: a pull is under way there.\n`;
  return `Removed:\n${formatModels(removed, nowMs)}${total(removed)} in all.\n${left}`;
}

export const modelsCacheCommand: Command = withBareWord(
  defineCommand({
    name: "models cache",
    summary: "what was pulled, with sizes and ages; `prune` removes it",
    about: "Without --yes a prune only lists what it would remove. Only folders that a pull made are touched.",
    examples: [
      "tricera models cache",
      "tricera models cache prune",
      "tricera models cache prune --id facebook/dinov2-small --yes",
      "tricera models cache prune --older-than 90 --yes",
      "tricera models cache prune --unfinished --yes",
    ],
    options: OPTIONS,
    run: async (values, { terminal }) => {
      const { prune, yes, rules } = cacheOptionsOf(values);
      const { cacheDirOf, listCache, removeCached } = await loadHub();
      const [cacheDir, nowMs] = [cacheDirOf(), Date.now()];
      const all = await listCache();
      const models = prune ? toPrune(all, rules, nowMs) : all;
      const removed = prune && yes ? await removeCached(models) : [];
      const text = prune
        ? formatPruned({ cacheDir, models, removed }, { yes, nowMs })
        : `${cacheDir}: ${models.length === 0 ? "empty" : total(models)}\n${formatModels(models, nowMs)}`;
      terminal.out(values.json === true ? `${JSON.stringify({ cacheDir, models, ...(prune ? { removed } : {}) })}\n` : text);
      return 0;
    },
  }),
  { name: "action", options: OPTIONS },
);
