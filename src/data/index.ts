/** @file Data sets: listed, frozen for a run, served in batches. */
export { type DataEntry, type DataList, entryName, makeList } from "./entry.ts";
export type { ListOptions } from "./folder.ts";
export { compareLists, describeChanges, digestList, freezeList, type ListChanges, readFrozenList } from "./frozen-list.ts";
export { holdOut } from "./hold-out.ts";
export { listData } from "./list.ts";
export { epochOrder, imageRef, Loader, type LoaderOptions, nameFailure } from "./loader.ts";
export { type DenseList, holdOutDense, listDense, type ListDenseOptions, loadDenseMask } from "./dense.ts";
export { DATA_SHEET, type DataSheet, readDataSheet } from "./dense-sheet.ts";
export { type DenseParts, listDenseSides } from "./dense-sides.ts";
