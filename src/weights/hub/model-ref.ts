/** @file What a model's name means: a Hugging Face repository or a file of Meta's; and the folder of the cache that it has. */
import { ConfigError, nameHint } from "../../core/index.ts";
import { catalogueNames, findEntry } from "./catalogue.ts";

/** A repository on Hugging Face at a revision. */
export interface HubRef {
  readonly kind: "hub";
  readonly id: string;
  readonly revision: string;
}

/** One file by its address. */
export interface FileRef {
  readonly kind: "file";
  readonly id: string;
  readonly url: string;
  readonly isGated: boolean;
}

export type ModelRef = HubRef | FileRef;

const PART = "[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?";
const REPOSITORY = new RegExp(`^${PART}/${PART}$`);
const REVISION = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$/;
const MAIN = "main";

/** Whether a text has the form `owner/name` of a repository on Hugging Face, which has no `..` and no `--`. */
export function isHubId(text: string): boolean {
  return text.length <= 200 && REPOSITORY.test(text) && !text.includes("..") && !text.includes("--");
}

function checkRevision(revision: string): void {
  if (!REVISION.test(revision) || revision.includes("..") || revision.includes("//"))
    throw new ConfigError(`Cannot pull revision "${revision}": that is no branch, tag or commit; give a name such as main`, {
      keyPath: "revision",
    });
}

/**
 * What a name stands for: `owner/name` is a repository on Hugging Face, a canonical id or an alias is Meta's original file, timm's tagged
 * names are timm's repositories. Throws ConfigError for names that have no released weights.
 */
export function parseModelRef(name: string, { revision = MAIN }: { readonly revision?: string | undefined } = {}): ModelRef {
  checkRevision(revision);
  if (isHubId(name)) return { kind: "hub", id: name, revision };
  const entry = findEntry(name);
  if (entry?.hub.includes(`timm/${name}`) === true) return { kind: "hub", id: `timm/${name}`, revision };
  if (entry === undefined)
    throw new ConfigError(
      `Cannot find model "${name}": it is no Hugging Face id (owner/name) and no released model; ${nameHint(name, catalogueNames())}`,
      { keyPath: "model" },
    );
  const original = entry.originals.find(({ id }) => id === name) ?? entry.originals[0];
  if (original === undefined)
    throw new ConfigError(
      `Cannot find weights of "${name}": none were released; train it, or choose another model (\`tricera models list\`)`,
      { keyPath: "model" },
    );
  if (revision !== MAIN)
    throw new ConfigError(`Cannot pull revision "${revision}" of "${name}": Meta's files have no revisions; leave it out`, {
      keyPath: "revision",
    });
  return { kind: "file", ...original };
}

/** The folder name of a model in the cache: `facebook--dinov2-small`, with `@revision` where that is not main. */
export function cacheName(ref: ModelRef): string {
  if (ref.kind === "file") return ref.id;
  const name = ref.id.replace("/", "--");
  return ref.revision === MAIN ? name : `${name}@${ref.revision.replaceAll("/", "--")}`;
}
