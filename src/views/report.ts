/** @file `report.html`: one self-contained page that shows what a run learned. */
import { escapeHtml } from "./html.ts";
import { type Block, renderBlock } from "./report-blocks.ts";
import { REPORT_STYLE } from "./report-style.ts";

/** A part of the page with a heading of its own; left out when all its blocks are empty. */
export interface ReportSection {
  readonly title: string;
  /** What is to be seen, before the blocks. */
  readonly text?: string;
  readonly blocks: readonly Block[];
}

export interface ReportData {
  readonly title: string;
  /** One sentence: what a reader should take from the run. */
  readonly verdict: string;
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** "What was seen; what it means; what to try". */
  readonly alarms: readonly string[];
  readonly sections: readonly ReportSection[];
  /** Every value of the configuration with its reason. */
  readonly config: readonly (readonly [key: string, value: string, reason: string])[];
  /** Commands to go on with. */
  readonly next: readonly { readonly what: string; readonly command: string }[];
}

interface RenderedSection {
  readonly id: string;
  readonly title: string;
  readonly html: string;
}

const CSP = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

function renderAlarm(text: string): string {
  const [seen = "", ...rest] = text.split("; ");
  const remedy = rest.length > 1 ? rest.slice(1).join("; ") : rest.join("; ");
  const meaning = rest.length > 1 ? `<p><b>What it means:</b> ${escapeHtml(rest[0] ?? "")}</p>` : "";
  const what = remedy === "" ? "" : `<p><b>What to do:</b> ${escapeHtml(remedy)}</p>`;
  return `<div class="alarm" role="alert"><p><b>Alarm.</b> ${escapeHtml(seen)}</p>${meaning}${what}</div>`;
}

function renderAlarms(alarms: readonly string[]): string {
  return alarms.length === 0 ? `<p class="calm">No collapse alarm sounded.</p>` : alarms.map(renderAlarm).join("");
}

/** Values by section (`model.depth` under `model`), each with its reason, folded away. */
function renderConfig(config: ReportData["config"]): string {
  if (config.length === 0) return "";
  let section = "";
  const rows = config.map(([key, value, reason]) => {
    const own = key.includes(".") ? (key.split(".")[0] ?? "") : "run";
    const head = own === section ? "" : `<tr><th colspan="3">${escapeHtml(own)}</th></tr>`;
    section = own;
    return `${head}<tr><td><code>${escapeHtml(key)}</code></td><td><code>${escapeHtml(value)}</code></td><td class="soft">${escapeHtml(reason)}</td></tr>`;
  });
  return `<details><summary>${config.length} values, each with its reason</summary><div class="scroll"><table class="config">${rows.join("")}</table></div></details>`;
}

function renderNext(next: ReportData["next"]): string {
  return next.map(({ what, command }) => `<p class="soft">${escapeHtml(what)}</p><pre>${escapeHtml(command)}</pre>`).join("");
}

function renderSections({ sections, config, next }: ReportData): readonly RenderedSection[] {
  const parts = sections.map(({ title, text, blocks }) => {
    const body = blocks.map(renderBlock).join("");
    const lead = text === undefined ? "" : `<p class="soft">${escapeHtml(text)}</p>`;
    return { title, html: body === "" ? "" : lead + body };
  });
  return [...parts, { title: "Configuration", html: renderConfig(config) }, { title: "Go on", html: renderNext(next) }]
    .filter(({ html }) => html !== "")
    .map((part, i) => ({ ...part, id: `part-${i + 1}` }));
}

/** The page: no script, nothing loaded from elsewhere, and every text from outside escaped. */
export function renderReport(data: ReportData): string {
  const title = escapeHtml(data.title);
  const sections = renderSections(data);
  const facts = data.facts
    .map(([k, v]) => `<div><dt>${escapeHtml(k)}</dt><dd>${escapeHtml(v).replaceAll("_", "_<wbr>")}</dd></div>`)
    .join("");
  const nav = sections.map((s) => `<a href="#${s.id}">${escapeHtml(s.title)}</a>`).join("");
  const body = sections.map((s) => `<section id="${s.id}"><h2>${escapeHtml(s.title)}</h2>${s.html}</section>`).join("\n");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" content="${CSP}"><title>${title}</title><style>${REPORT_STYLE}</style></head><body>
<header><h1>${title}</h1><p class="verdict">${escapeHtml(data.verdict)}</p>${facts === "" ? "" : `<dl>${facts}</dl>`}${renderAlarms(data.alarms)}</header>
${nav === "" ? "" : `<nav>${nav}</nav>`}
<main>${body}</main>
</body></html>
`;
}
