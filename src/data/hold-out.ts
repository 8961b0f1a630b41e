/** @file Parts of a labelled list for voting and testing. */
import { type DataList, makeList } from "./entry.ts";

/** Every `every`-th image of each class is held out, so that both parts have all classes that are large enough. */
export function holdOut(list: DataList, every = 5): { readonly train: DataList; readonly test: DataList } {
  const seen = new Map<string, number>();
  const isTest = list.entries.map(({ label = "" }) => {
    const n = (seen.get(label) ?? 0) + 1;
    seen.set(label, n);
    return n % every === 0;
  });
  return {
    train: makeList(list.entries.filter((_, i) => isTest[i] !== true)),
    test: makeList(list.entries.filter((_, i) => isTest[i] === true)),
  };
}
