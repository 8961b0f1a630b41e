import { afterEach, expect, test } from "vitest";
import { memoryStore, openCacheStore, type PartStore, withSpill } from "./part-store.ts";

const URL_A = "https://models.example/a?tricera-part=0";
const bytes = Uint8Array.of(1, 2, 3);

/** Puts a Cache Storage in the place where a browser has its own. */
function browserWith(caches: PropertyDescriptor): void {
  Object.defineProperty(globalThis, "caches", { ...caches, configurable: true });
}
afterEach(() => void Reflect.deleteProperty(globalThis, "caches"));

test("openCacheStore() gives nothing where the browser has no Cache Storage, refuses it, or keeps it from a sandboxed frame", async () => {
  expect(await openCacheStore()).toBeUndefined();
  browserWith({ value: { open: () => Promise.reject(new Error("SecurityError")) } });
  expect(await openCacheStore()).toBeUndefined();
  browserWith({
    get: () => {
      throw new Error("SecurityError");
    },
  });
  expect(await openCacheStore()).toBeUndefined();
});

test("a part that the browser cannot read any more counts as not there", async () => {
  const broken = new Response(new ReadableStream({ pull: (controller) => controller.error(new Error("disk")) }));
  const answers = [Promise.reject(new Error("disk")), Promise.resolve(broken), Promise.resolve(new Response(bytes))];
  answers[0]?.catch(() => undefined);
  browserWith({ value: { open: () => Promise.resolve({ match: () => answers.shift() }) } });
  const store = await openCacheStore();
  expect([await store?.get(URL_A), await store?.get(URL_A), await store?.get(URL_A)]).toEqual([undefined, undefined, bytes]);
});

test("withSpill() keeps in memory what the cache refuses, and forgets it, too", async () => {
  const full: PartStore = { ...memoryStore(), put: () => Promise.reject(new Error("QuotaExceededError")) };
  const store = withSpill(full);
  await store.put(URL_A, bytes);
  expect(await store.get(URL_A)).toEqual(bytes);
  expect(await full.get(URL_A)).toBeUndefined();
  await store.delete(URL_A);
  expect(await store.get(URL_A)).toBeUndefined();
});
