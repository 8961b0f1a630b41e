/** @file `report.html`: one self-contained page that shows what a run learned. */
import { type ChartOptions, escapeHtml, lineChart } from "./chart.ts";

/** An encoded picture. */
export interface ReportPicture {
  readonly mime: "image/png" | "image/jpeg";
  readonly bytes: Uint8Array;
}

/** Pictures in rows under column headings. */
export interface PictureTable {
  readonly title: string;
  readonly text: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly ReportPicture[])[];
}

export interface ReportData {
  readonly title: string;
  /** One sentence: what a reader should take from the run. */
  readonly verdict: string;
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly alarms: readonly string[];
  readonly charts: readonly ChartOptions[];
  readonly pictures: readonly PictureTable[];
  /** Every value of the configuration with its reason. */
  readonly config: readonly (readonly [key: string, value: string, reason: string])[];
  /** Commands to go on with. */
  readonly next: readonly string[];
}

const STYLE = `:root{color-scheme:light dark;--ink:#1d2129;--soft:#667085;--line:#e4e7ec;--page:#fff;--card:#f8f9fb;--a:#2563eb;--b:#d9480f;--c:#2b8a3e;--d:#9c36b5}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#98a2b3;--line:#30353f;--page:#14171c;--card:#1c2027;--a:#6ea8fe;--b:#ff922b;--c:#69db7c;--d:#da77f2}}
*{box-sizing:border-box}body{margin:0 auto;max-width:960px;padding:32px 20px 64px;font:15px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--page)}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:40px 0 8px}p{margin:4px 0 12px;max-width:70ch}.soft,figcaption,th,dt{color:var(--soft)}
.verdict{font-size:17px}.alarm{border-left:3px solid var(--b);padding:6px 12px;background:var(--card)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:12px;margin:20px 0}dt{font-size:12px}dd{margin:0;font-weight:600}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:16px}.chart{margin:0;padding:12px;border-radius:8px;background:var(--card)}
.chart svg{width:100%;height:auto}svg line{stroke:var(--line)}svg text{fill:var(--soft);font-size:11px}svg path{fill:none;stroke-width:1.6;stroke-linejoin:round}figcaption{font-size:13px}
.legend b{margin-left:8px;font-weight:600}.scroll{overflow-x:auto}table{border-collapse:collapse}th{font-weight:500;font-size:12px;text-align:left;padding:4px 6px}
.pics td{padding:3px}.pics img{display:block;width:112px;height:112px;object-fit:contain;border-radius:6px;image-rendering:auto}
.config td{padding:3px 14px 3px 0;font-size:13px;border-bottom:1px solid var(--line);vertical-align:top}code,pre{font:13px/1.5 ui-monospace,monospace}pre{background:var(--card);padding:12px;border-radius:8px;overflow-x:auto}`;

const image = ({ mime, bytes }: ReportPicture): string => `<img alt="" src="data:${mime};base64,${Buffer.from(bytes).toString("base64")}">`;

function pictureTable({ title, text, columns, rows }: PictureTable): string {
  if (rows.length === 0) return "";
  const head = columns.map((c) => `<th>${escapeHtml(c)}</th>`).join("");
  const body = rows.map((row) => `<tr>${row.map((p) => `<td>${image(p)}</td>`).join("")}</tr>`).join("");
  return `<h2>${escapeHtml(title)}</h2><p class="soft">${escapeHtml(text)}</p><div class="scroll"><table class="pics"><tr>${head}</tr>${body}</table></div>`;
}

/** The page; nothing in it comes from elsewhere, and everything from outside is escaped. */
export function renderReport(data: ReportData): string {
  const charts = data.charts.map(lineChart).join("");
  const facts = data.facts.map(([k, v]) => `<div><dt>${escapeHtml(k)}</dt><dd>${escapeHtml(v)}</dd></div>`).join("");
  const config = data.config
    .map(
      ([k, v, why]) =>
        `<tr><td><code>${escapeHtml(k)}</code></td><td><code>${escapeHtml(v)}</code></td><td class="soft">${escapeHtml(why)}</td></tr>`,
    )
    .join("");
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"><title>${escapeHtml(data.title)}</title><style>${STYLE}</style></head><body>
<h1>${escapeHtml(data.title)}</h1><p class="verdict">${escapeHtml(data.verdict)}</p>${data.alarms.map((a) => `<p class="alarm">${escapeHtml(a)}</p>`).join("")}<dl>${facts}</dl>
${charts === "" ? "" : `<h2>Along the run</h2><div class="charts">${charts}</div>`}
${data.pictures.map(pictureTable).join("")}
${config === "" ? "" : `<h2>Configuration</h2><details><summary>${data.config.length} values, each with its reason</summary><div class="scroll"><table class="config">${config}</table></div></details>`}
${data.next.length === 0 ? "" : `<h2>Go on</h2><pre>${escapeHtml(data.next.join("\n"))}</pre>`}
</body></html>
`;
}
