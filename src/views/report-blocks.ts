/** @file The parts a report's section is made of, each as data and as HTML. */
import { type ChartOptions, lineChart } from "./chart.ts";
import { escapeHtml, percent } from "./html.ts";

/** An encoded picture. */
export interface ReportPicture {
  readonly mime: "image/png" | "image/jpeg";
  readonly bytes: Uint8Array;
  /** What it shows, for those who do not see it. */
  readonly alt: string;
  /** Shown when the pointer rests on it; default `alt`. */
  readonly hint?: string;
  /** A frame and a sign: what was looked for, or not. */
  readonly mark?: "right" | "wrong";
}

export interface PictureRow {
  readonly label?: string;
  /** One a column; undefined leaves a cell empty. */
  readonly cells: readonly (ReportPicture | undefined)[];
}

/** Who made pictures, and what one may do with them. */
export interface Credit {
  readonly name: string;
  readonly author: string;
  readonly licence: string;
  /** Only https addresses become links. */
  readonly url?: string;
}

export interface TextBlock {
  readonly kind: "text";
  readonly text: string;
}

export interface ChartsBlock {
  readonly kind: "charts";
  readonly charts: readonly ChartOptions[];
}

/** Pictures in rows under column headings. */
export interface PicturesBlock {
  readonly kind: "pictures";
  readonly columns: readonly string[];
  /** Headings over several columns, from left to right. */
  readonly groups?: readonly { readonly title: string; readonly span: number }[];
  readonly rows: readonly PictureRow[];
  /** Side of a picture on the page. */
  readonly sizePx?: number;
  /** Enlarged without smoothing: for maps whose cells are to be seen. */
  readonly pixelated?: boolean;
}

/** Shares of 1 as bars, rows by columns; the greatest of a column fills its track. */
export interface BarsBlock {
  readonly kind: "bars";
  readonly columns: readonly string[];
  readonly rows: readonly { readonly label: string; readonly values: readonly number[]; readonly strong?: boolean }[];
}

export interface CreditsBlock {
  readonly kind: "credits";
  readonly title: string;
  readonly credits: readonly Credit[];
}

export interface DetailsBlock {
  readonly kind: "details";
  readonly summary: string;
  readonly blocks: readonly Block[];
}

export type Block = TextBlock | ChartsBlock | PicturesBlock | BarsBlock | CreditsBlock | DetailsBlock;

const SIGNS = { right: "✓", wrong: "✗" } as const;

function picture({ mime, bytes, alt, hint = alt, mark }: ReportPicture, options: { readonly sizePx: number }): string {
  const src = `data:${mime};base64,${Buffer.from(bytes).toString("base64")}`;
  const said = mark === undefined ? alt : `${alt} (${mark})`;
  const sign = mark === undefined ? "" : `<i aria-hidden="true">${SIGNS[mark]}</i>`;
  return `<span class="pic${mark === undefined ? "" : ` ${mark}`}"><img alt="${escapeHtml(said)}" title="${escapeHtml(hint)}" width="${options.sizePx}" height="${options.sizePx}" loading="lazy" src="${src}">${sign}</span>`;
}

/** Columns that begin a group, so that a gap is left before them. */
function groupStarts(groups: PicturesBlock["groups"] = []): ReadonlySet<number> {
  let at = 0;
  return new Set(groups.map(({ span }) => (at += span) - span).filter((c) => c > 0));
}

function pictures({ columns, groups, rows, sizePx = 112, pixelated = false }: PicturesBlock): string {
  if (rows.length === 0) return "";
  const starts = groupStarts(groups);
  const hasLabels = rows.some((r) => r.label !== undefined);
  const begin = (c: number): string => (starts.has(c) ? ' class="start"' : "");
  const corner = hasLabels ? "<td></td>" : "";
  const over = groups?.map(({ title, span }, g) => `<th colspan="${span}"${g > 0 ? ' class="start"' : ""}>${escapeHtml(title)}</th>`);
  const head = columns.some((c) => c !== "")
    ? `<tr>${corner}${columns.map((c, i) => `<th scope="col"${begin(i)}>${escapeHtml(c)}</th>`).join("")}</tr>`
    : "";
  const body = rows.map(({ label, cells }) => {
    const name = hasLabels ? `<th scope="row">${escapeHtml(label ?? "")}</th>` : "";
    return `<tr>${name}${cells.map((p, c) => `<td${begin(c)}>${p === undefined ? "" : picture(p, { sizePx })}</td>`).join("")}</tr>`;
  });
  return `<div class="scroll"><table class="pics${pixelated ? " pixels" : ""}" style="--side:${sizePx}px"><thead>${over === undefined ? "" : `<tr>${corner}${over.join("")}</tr>`}${head}</thead><tbody>${body.join("")}</tbody></table></div>`;
}

function bars({ columns, rows }: BarsBlock): string {
  const most = columns.map((_, c) => Math.max(1e-9, ...rows.map(({ values }) => values[c] ?? 0)));
  const cell = (value: number, c: number): string => {
    const part = Math.max(0, value / (most[c] ?? 1));
    return `<td><span class="bar"><span style="width:${(100 * part).toFixed(1)}%"></span></span>${percent(value)}</td>`;
  };
  const head = columns.map((c) => `<th scope="col">${escapeHtml(c)}</th>`).join("");
  const body = rows.map(
    ({ label, values, strong = false }) =>
      `<tr${strong ? ' class="strong"' : ""}><th scope="row">${escapeHtml(label)}</th>${values.map(cell).join("")}</tr>`,
  );
  return `<div class="scroll"><table class="bars"><thead><tr><td></td>${head}</tr></thead><tbody>${body.join("")}</tbody></table></div>`;
}

function credit({ name, author, licence, url }: Credit): string {
  const safe = url?.startsWith("https://") === true ? url : undefined;
  const terms =
    safe === undefined ? escapeHtml(licence) : `<a rel="noopener noreferrer" href="${escapeHtml(safe)}">${escapeHtml(licence)}</a>`;
  return `<span>${escapeHtml(name)}, ${escapeHtml(author)}, ${terms}</span>`;
}

const RENDER: { readonly [K in Block["kind"]]: (block: Extract<Block, { kind: K }>) => string } = {
  text: ({ text }) => `<p class="soft">${escapeHtml(text)}</p>`,
  charts: ({ charts }) => {
    const drawn = charts.map(lineChart).join("");
    return drawn === "" ? "" : `<div class="charts">${drawn}</div>`;
  },
  pictures,
  bars,
  credits: ({ title, credits }) => `<p class="credits">${escapeHtml(title)} ${credits.map(credit).join(" · ")}</p>`,
  details: ({ summary, blocks }) => {
    const inner = blocks.map(renderBlock).join("");
    return inner === "" ? "" : `<details><summary>${escapeHtml(summary)}</summary>${inner}</details>`;
  },
};

/** HTML of a block; empty text when it has nothing to show. */
export function renderBlock(block: Block): string {
  const render: (block: never) => string = RENDER[block.kind];
  return render(block as never); // the table is keyed by the same kind
}
