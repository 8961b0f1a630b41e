/** @file `tricera models pull`: released weights into the cache. */
import type { PullOptions, PullResult } from "../../weights/hub/index.ts";
import { type Command, defineCommand } from "../command.ts";
import { flag, type OptionValues, text } from "../options.ts";
import { need } from "../parse-args.ts";
import { ProgressLine } from "../progress-line.ts";
import { loadHub } from "./models.ts";
import { formatBytes, formatTable } from "./models-format.ts";
import { withBareWord } from "./models-id.ts";

const OPTIONS = {
  id: text("ID", "owner/name on Hugging Face, or the id of one of Meta's files; `--id` may be left out"),
  revision: text("NAME", "branch, tag or commit; default: main"),
  yes: flag("I have read the licence and accept it (where it is an agreement)"),
  overwrite: flag("fetch anew what is in the cache"),
  url: text("URL", "another address of one of Meta's files, such as the link that their form sends"),
  sha256: text("HEX", "what the sha256 of that file must be"),
};

/** What the library gets. */
function pullOptionsOf(values: OptionValues<typeof OPTIONS>): { readonly id: string; readonly options: PullOptions } {
  const { revision, yes, overwrite, url, sha256 } = values;
  const id = need(values.id, "id", "it says what to pull");
  return { id, options: { revision, accept: yes === true, overwrite: overwrite === true, url, sha256 } };
}

function formatPulled({ id, commit, path, files, fetchedBytes }: PullResult): string {
  const rows = files.map(({ name, sizeBytes, checkedBy }) => [`  ${name}`, formatBytes(sizeBytes), `checked by ${checkedBy}`]);
  const came = fetchedBytes === 0 ? "was in the cache" : `pulled ${formatBytes(fetchedBytes)}`;
  return `${id}${commit === undefined ? "" : ` at ${commit.slice(0, 12)}`}: ${came}\n${formatTable(rows)}${path}\n`;
}

export const modelsPullCommand: Command = withBareWord(
  defineCommand({
    name: "models pull",
    summary: "released weights into the cache: resumed where cut, checked, offline ever after",
    about: [
      "Asks https://huggingface.co, or the mirror that HF_ENDPOINT names; HF_TOKEN goes there and nowhere else.",
      "The cache is TRICERA_CACHE, or the platform's cache folder (docs/models.md). What is there is not asked for again.",
    ].join("\n"),
    examples: [
      "tricera models pull facebook/dinov2-small",
      "tricera models pull facebook/dinov3-vits16-pretrain-lvd1689m --yes",
      "tricera models pull dino_vits16",
      "tricera models pull dinov3_vits16 --url https://example.org/my-link --yes",
    ],
    options: OPTIONS,
    run: async (values, { terminal, signal }) => {
      const { id, options } = pullOptionsOf(values);
      const { pullModel } = await loadHub();
      const line = new ProgressLine(terminal);
      try {
        const result = await pullModel(id, { ...options, signal, onProgress: line.onProgress, onNotice: (said) => line.note(said) });
        line.done();
        terminal.out(values.json === true ? `${JSON.stringify(result)}\n` : formatPulled(result));
        return 0;
      } finally {
        line.done();
      }
    },
  }),
  { name: "id", options: OPTIONS },
);
