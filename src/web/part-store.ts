/** @file Where parts of a download are kept: in the browser's Cache Storage, or in memory. */
import { browser, type BrowserCache } from "./browser.ts";

/** Bytes by URL. */
export interface PartStore {
  get(url: string): Promise<Uint8Array | undefined>;
  put(url: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  delete(url: string): Promise<void>;
}

/** The name under which Cache Storage shows what was fetched; pages of one origin share it. */
export const CACHE_NAME = "tricera-weights-v1";

/** Cache Storage; undefined where the browser has none (a page that is not served over HTTPS or from localhost) or refuses it. */
export async function openCacheStore(): Promise<PartStore | undefined> {
  try {
    const cache = await browser.caches?.open(CACHE_NAME);
    return cache === undefined ? undefined : storeOf(cache);
  } catch {
    return undefined; // private windows, and frames that are sandboxed
  }
}

/** What cannot be read counts as not there: browsers drop what they keep when the disk is full. */
function storeOf(cache: BrowserCache): PartStore {
  return {
    async get(url) {
      try {
        const kept = await cache.match(url);
        return kept === undefined ? undefined : new Uint8Array(await kept.arrayBuffer());
      } catch {
        return undefined;
      }
    },
    put: (url, bytes) => cache.put(url, new Response(bytes)),
    delete: async (url) => void (await cache.delete(url)),
  };
}

/** Parts of one load, forgotten with it. */
export function memoryStore(): PartStore {
  const parts = new Map<string, Uint8Array>();
  return {
    get: (url) => Promise.resolve(parts.get(url)),
    put: (url, bytes) => Promise.resolve(void parts.set(url, bytes)),
    delete: (url) => Promise.resolve(void parts.delete(url)),
  };
}

/**
 * A cache in front of memory: what the cache refuses (its quota is full) is kept in memory, so that a load goes on.
 */
export function withSpill(store: PartStore): PartStore {
  const spill = memoryStore();
  return {
    get: async (url) => (await spill.get(url)) ?? (await store.get(url)),
    put: (url, bytes) => store.put(url, bytes).catch(() => spill.put(url, bytes)),
    delete: async (url) => {
      await spill.delete(url);
      await store.delete(url);
    },
  };
}

/** Deletes all weights that pages of this origin have fetched; nothing where the browser keeps none. */
export async function clearWeights(): Promise<void> {
  if ((await openCacheStore()) !== undefined) await browser.caches?.delete(CACHE_NAME);
}
