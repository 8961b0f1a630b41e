/** @file What a server's refusal means for people: gated, missing, wrong revision, too many requests. */
import { findEntry } from "./catalogue.ts";
import { DownloadError, RetryError } from "./errors.ts";
import type { Answer } from "./http.ts";
import type { ModelRef } from "./model-ref.ts";

export interface Refused {
  readonly ref: ModelRef;
  /** Name of the file that was asked for. */
  readonly name: string;
  readonly endpoint: string;
  readonly hasToken: boolean;
}

/** The hub's own word for it: `GatedRepo`, `RepoNotFound`, `RevisionNotFound`, `EntryNotFound`. */
function codeOf({ headers }: Answer): string {
  return headers.get("x-error-code") ?? "";
}

/** The hub's sentence, as one short line. */
function saidBy({ headers }: Answer): string {
  const text = (headers.get("x-error-message") ?? "")
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .replaceAll(";", ",")
    .trim();
  return text === "" ? "" : ` (the server says: ${text.slice(0, 200)})`;
}

/** Whether an answer says that this one file is not there, while repository and revision are. */
export function isMissingFile(answer: Answer): boolean {
  const code = codeOf(answer);
  return answer.status === 404 && (code === "" || code === "EntryNotFound");
}

/** timm's copies are not gated; the licence is the same. */
function copyHint({ id }: ModelRef): string {
  const copy = findEntry(id)?.hub.find((name) => name.startsWith("timm/"));
  return copy === undefined || id.startsWith("timm/") ? "" : `, or pull timm's copy under the same licence, ${copy}`;
}

function gatedHub(answer: Answer, { ref, endpoint, hasToken }: Refused): string {
  const page = `${endpoint}/${ref.id}`;
  const { status } = answer;
  if (codeOf(answer) === "GatedRepo" || status === 403)
    return hasToken
      ? `its authors must let you in (${status})${saidBy(answer)}; open ${page} with the account of HF_TOKEN, accept the licence, wait for access, and pull again (the token needs the right to read gated repositories)${copyHint(ref)}`
      : `its authors must let you in (${status})${saidBy(answer)}; open ${page}, accept the licence, make a token at ${endpoint}/settings/tokens, set HF_TOKEN to it, and pull again${copyHint(ref)}`;
  return hasToken
    ? `there is no such repository, or HF_TOKEN may not read it (${status})${saidBy(answer)}; check the id and the token`
    : `there is no such repository, or it is private or gated (${status})${saidBy(answer)}; check the id, or set HF_TOKEN to a token that may read it`;
}

function gatedFile(answer: Answer, { ref }: Refused): string {
  const isMeta = ref.kind === "file" && ref.isGated;
  return isMeta
    ? `Meta gives these files by links of one's own (${answer.status}); ask for one at https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/ and pull with --url "LINK", or pull the repository on Hugging Face (\`tricera models info ${ref.id}\` names it)`
    : `the server refuses (${answer.status}), as it does when a link has expired; ask for a new link`;
}

function missing(answer: Answer, { ref, name }: Refused): string {
  if (ref.kind === "file") return `the server has no such file (${answer.status}); check the address`;
  const code = codeOf(answer);
  if (code === "RepoNotFound") return `there is no such repository (404)${saidBy(answer)}; check the id`;
  if (code === "RevisionNotFound") return `it has no revision "${ref.revision}" (404); check --revision`;
  return `it has no "${name}" at revision "${ref.revision}" (${answer.status}); check the id and --revision`;
}

/** `Retry-After` in seconds or as a date. */
function retryAfterMs(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  return text !== null && /^\d{1,5}$/.test(text) ? 1000 * Number(text) : undefined;
}

/** The error for an answer that is neither 200 nor 206. RetryError where waiting may help. */
export function refusal(answer: Answer, refused: Refused): DownloadError | RetryError {
  const { status, url, headers } = answer;
  const host = new URL(url).host;
  if (status === 408 || status === 429 || status >= 500)
    return new RetryError(`${host} answers ${status}${saidBy(answer)}`, { waitMs: retryAfterMs(headers) });
  const because =
    status === 401 || status === 403
      ? (refused.ref.kind === "hub" ? gatedHub : gatedFile)(answer, refused)
      : status === 404 || status === 410
        ? missing(answer, refused)
        : `${host} answers ${status}${saidBy(answer)}; check the id and HF_ENDPOINT`;
  return new DownloadError(`Cannot pull "${refused.ref.id}": ${because}`, { url, status });
}
