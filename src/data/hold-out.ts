/** @file Parts of a labelled list for voting and testing. */
import { ConfigError } from "../core/index.ts";
import { type DataList, makeList } from "./entry.ts";

/**
 * Every `every`-th image of each class is held out, so that both parts have all classes that are large enough; 2.5 holds out two of five.
 * Throws ConfigError when nothing would be left to vote.
 */
export function holdOut(list: DataList, every = 5): { readonly train: DataList; readonly test: DataList } {
  if (!(every > 1 && every < Infinity))
    throw new ConfigError(`Cannot hold out every ${every}th image: both parts need some; give a number above 1`, { keyPath: "split" });
  const seen = new Map<string, number>();
  const isTest = list.entries.map(({ label = "" }) => {
    const before = seen.get(label) ?? 0;
    seen.set(label, before + 1);
    return Math.floor((before + 1) / every) > Math.floor(before / every);
  });
  return {
    train: makeList(list.entries.filter((_, i) => isTest[i] !== true)),
    test: makeList(list.entries.filter((_, i) => isTest[i] === true)),
  };
}
