/** @file Fetches a file in ranges into a store of parts, so that a load that was cut off or aborted goes on where it stopped. */
import { FormatError } from "../core/index.ts";
import type { ByteSource } from "./byte-source.ts";
import { type Answer, askRange, cutOff, piecesOf, TransientError } from "./http.ts";
import type { PartStore } from "./part-store.ts";

/** Bytes of a part: few requests for large files, little lost when one breaks. */
const PART_BYTES = 4 * 2 ** 20;
/** Ranges fetched at once. */
const LANES = 4;
const ATTEMPTS = 3;

export interface DownloadOptions {
  readonly store: PartStore;
  readonly signal?: AbortSignal | undefined;
  /** Whether the server is asked if a file that is kept has changed; default: not. */
  readonly isChecked?: boolean | undefined;
  /** Bytes that are here, of all; called after each part. */
  readonly onBytes?: ((done: number, total: number) => void) | undefined;
}

interface Manifest {
  readonly sizeBytes: number;
  readonly tag: string;
}

function keyOf(url: string, part: number | "manifest"): string {
  const key = new URL(url);
  key.searchParams.set("tricera-part", String(part));
  return key.href;
}

function partsOf(sizeBytes: number): number {
  return Math.max(1, Math.ceil(sizeBytes / PART_BYTES));
}

function rangeOf(part: number, sizeBytes: number): { readonly begin: number; readonly end: number } {
  return { begin: part * PART_BYTES, end: Math.min(sizeBytes, (part + 1) * PART_BYTES) };
}

/** One download. */
class Download {
  readonly #url: string;
  readonly #options: DownloadOptions;

  constructor(url: string, options: DownloadOptions) {
    [this.#url, this.#options] = [url, options];
  }

  /** All parts in the store; undefined where there is no such file. */
  async run(): Promise<Manifest | undefined> {
    const known = await this.#current();
    const manifest = known ?? (await this.#retried(() => this.#first()));
    if (manifest === undefined) return undefined;
    const missing: number[] = [];
    let done = 0;
    for (let part = 0; part < partsOf(manifest.sizeBytes); part++) {
      const { begin, end } = rangeOf(part, manifest.sizeBytes);
      if ((await this.#options.store.get(keyOf(this.#url, part)))?.length === end - begin) done += end - begin;
      else missing.push(part);
    }
    this.#options.onBytes?.(done, manifest.sizeBytes);
    await this.#fetchParts(missing, manifest, (bytes) => this.#options.onBytes?.((done += bytes), manifest.sizeBytes));
    return manifest;
  }

  /** Several ranges at once; after an error no new one is begun. */
  async #fetchParts(parts: readonly number[], manifest: Manifest, onPart: (bytes: number) => void): Promise<void> {
    const queue = [...parts];
    const lane = async (): Promise<void> => {
      for (let part = queue.shift(); part !== undefined; part = queue.shift()) {
        const now = part;
        await this.#retried(() => this.#part(now, manifest)).catch((error: unknown) => {
          queue.length = 0;
          throw error;
        });
        const { begin, end } = rangeOf(part, manifest.sizeBytes);
        onPart(end - begin);
      }
    };
    const ends = await Promise.allSettled(Array.from({ length: Math.min(LANES, parts.length) }, lane));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  async #known(): Promise<Manifest | undefined> {
    const bytes = await this.#options.store.get(keyOf(this.#url, "manifest"));
    return bytes === undefined ? undefined : (JSON.parse(new TextDecoder().decode(bytes)) as Manifest); // written by `#first`
  }

  /** What is kept, if it is to be used. Forgotten where the server has another file, used where there is no answer. */
  async #current(): Promise<Manifest | undefined> {
    const known = await this.#known();
    if (known === undefined || this.#options.isChecked !== true || (await this.#isSame(known))) return known;
    await forgetRemote(this.#url, this.#options.store);
    return undefined;
  }

  async #isSame({ sizeBytes, tag }: Manifest): Promise<boolean> {
    try {
      const answer = await askRange(this.#url, { begin: 0, end: 1, signal: this.#options.signal });
      await answer?.body.cancel();
      return answer?.tag === tag && (answer.sizeBytes ?? sizeBytes) === sizeBytes;
    } catch (error) {
      if (error instanceof TransientError) return true;
      throw error;
    }
  }

  async #retried<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++)
      try {
        this.#options.signal?.throwIfAborted();
        return await work();
      } catch (error) {
        if (!(error instanceof TransientError) || attempt === ATTEMPTS) throw error;
      }
  }

  /** The first part, which tells the size; the whole file from a server that knows no ranges or does not tell. */
  async #first(): Promise<Manifest | undefined> {
    const { signal } = this.#options;
    const answer = await askRange(this.#url, { begin: 0, end: PART_BYTES, signal });
    if (answer === undefined) return undefined;
    if (!answer.isRange) return await this.#whole(answer);
    const { sizeBytes, tag } = answer;
    if (sizeBytes === undefined) {
      await answer.body.cancel();
      const all = await askRange(this.#url, { begin: 0, signal });
      return all === undefined ? undefined : await this.#whole(all);
    }
    await this.#keep(0, await this.#collect(answer, Math.min(sizeBytes, PART_BYTES)));
    return await this.#describe({ sizeBytes, tag });
  }

  async #describe(manifest: Manifest): Promise<Manifest> {
    await this.#options.store.put(keyOf(this.#url, "manifest"), new TextEncoder().encode(JSON.stringify(manifest)));
    return manifest;
  }

  async #keep(part: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#options.store.put(keyOf(this.#url, part), bytes);
  }

  async #part(part: number, { sizeBytes, tag }: Manifest): Promise<void> {
    const range = rangeOf(part, sizeBytes);
    const answer = await askRange(this.#url, { ...range, signal: this.#options.signal });
    if (answer === undefined || answer.tag !== tag || (answer.sizeBytes ?? sizeBytes) !== sizeBytes || !answer.isRange) {
      await answer?.body.cancel();
      await this.#options.store.delete(keyOf(this.#url, "manifest"));
      throw new FormatError(`Cannot fetch "${this.#url}": the file changed while it was fetched; load the model again`, {
        file: this.#url,
      });
    }
    await this.#keep(part, await this.#collect(answer, range.end - range.begin));
  }

  async #collect(answer: Answer, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    let at = 0;
    for await (const piece of piecesOf(this.#url, answer, this.#options.signal)) {
      if (at + piece.length > length) throw cutOff(this.#url, `the server sent more than the ${length} bytes asked for`);
      bytes.set(piece, at);
      at += piece.length;
    }
    if (at < length) throw cutOff(this.#url, `the server sent ${at} of ${length} bytes`);
    return bytes;
  }

  /** A whole body, cut into parts as it comes. */
  async #whole(answer: Answer): Promise<Manifest> {
    const buffer = new Uint8Array(PART_BYTES);
    let [part, filled] = [0, 0];
    for await (const piece of piecesOf(this.#url, answer, this.#options.signal))
      for (let at = 0; at < piece.length;) {
        const some = piece.subarray(at, at + PART_BYTES - filled);
        buffer.set(some, filled);
        [at, filled] = [at + some.length, filled + some.length];
        if (filled < PART_BYTES) continue;
        await this.#keep(part, buffer.slice());
        [part, filled] = [part + 1, 0];
        if (answer.sizeBytes !== undefined) this.#options.onBytes?.(part * PART_BYTES, answer.sizeBytes);
      }
    if (filled > 0 || part === 0) await this.#keep(part, buffer.slice(0, filled));
    const sizeBytes = part * PART_BYTES + filled;
    if (answer.sizeBytes !== undefined && answer.sizeBytes !== sizeBytes)
      throw cutOff(this.#url, `the server sent ${sizeBytes} of ${answer.sizeBytes} bytes`);
    return await this.#describe({ sizeBytes, tag: answer.tag });
  }
}

/** Parts kept in memory while a file is read. */
const READ_PARTS = 4;

function sourceOf(url: string, { sizeBytes }: Manifest, store: PartStore): ByteSource {
  const recent = new Map<number, Uint8Array>();
  const partAt = async (part: number): Promise<Uint8Array> => {
    const bytes = recent.get(part) ?? (await store.get(keyOf(url, part)));
    if (bytes === undefined)
      throw new FormatError(`Cannot read "${url}": the browser dropped a part of it from its cache; load the model again`, { file: url });
    recent.delete(part);
    recent.set(part, bytes);
    const [oldest] = recent.keys();
    if (recent.size > READ_PARTS && oldest !== undefined) recent.delete(oldest);
    return bytes;
  };
  return {
    path: url,
    sizeBytes,
    async read(offset, length) {
      const out = new Uint8Array(length);
      for (let at = 0; at < length;) {
        const part = Math.floor((offset + at) / PART_BYTES);
        const some = (await partAt(part)).subarray(offset + at - part * PART_BYTES).subarray(0, length - at);
        if (some.length === 0)
          throw new FormatError(`Cannot read "${url}": it ends at byte ${offset + at}; load the model again`, { file: url });
        out.set(some, at);
        at += some.length;
      }
      return out;
    },
  };
}

/**
 * A file at a URL, fetched into the store unless it is there. Undefined where the server has no such file. Throws FormatError for what the
 * server refuses, for a file that changes on the way and, after three tries, for a connection that breaks; the signal's reason when aborted.
 */
export async function openRemote(url: string, options: DownloadOptions): Promise<ByteSource | undefined> {
  const manifest = await new Download(url, options).run();
  return manifest === undefined ? undefined : sourceOf(url, manifest, options.store);
}

/** Forgets a file. */
export async function forgetRemote(url: string, store: PartStore): Promise<void> {
  const manifest = await store.get(keyOf(url, "manifest"));
  if (manifest === undefined) return;
  const { sizeBytes } = JSON.parse(new TextDecoder().decode(manifest)) as Manifest; // written by a download
  await store.delete(keyOf(url, "manifest"));
  for (let part = 0; part < partsOf(sizeBytes); part++) await store.delete(keyOf(url, part));
}
