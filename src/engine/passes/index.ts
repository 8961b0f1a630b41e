/** @file Passes: Graph -> Graph, pure. `optimize` is the order in which they run. */
import { type Graph, verifyGraph } from "../ir/index.ts";
import { dropBroadcasts } from "./broadcasts.ts";
import { localize, recompute } from "./regions.ts";
import { dropIdentities, fold, fuseSums, prune, share } from "./simplify.ts";

export { dropBroadcasts } from "./broadcasts.ts";
export { type ArenaPlan, cut, planArena, type Placement, type Stage } from "./cut.ts";
export { localize, recompute } from "./regions.ts";
export { dropIdentities, fold, fuseSums, prune, share } from "./simplify.ts";

export interface OptimizeOptions {
  /** Regions whose forward work is done again in their backward region (activation checkpointing). */
  readonly checkpoint?: (region: string) => boolean;
}

/** Runs every pass in order and verifies the graph after each. */
export function optimize(graph: Graph, { checkpoint }: OptimizeOptions = {}): Graph {
  const passes: ((g: Graph) => Graph)[] = [
    dropIdentities,
    fold,
    dropBroadcasts,
    prune,
    ...(checkpoint === undefined ? [] : [(g: Graph): Graph => recompute(g, checkpoint)]),
    localize,
    share,
    fuseSums,
    prune,
  ];
  return passes.reduce((g, pass) => verifyGraph(pass(g)), verifyGraph(graph));
}
