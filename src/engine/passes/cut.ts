/** @file Cuts a graph into stages at region borders, and plans the memory of what crosses. */
import { DTYPE_BYTES, sizeOf } from "../../core/index.ts";
import type { Graph, Node, Value } from "../ir/index.ts";

/** Nodes that run as one session; `inputs` and `outputs` are what crosses its border. */
export interface Stage {
  readonly region: string;
  readonly nodes: readonly Node[];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

/** Groups nodes by region into stages that can run in order; a region that must run twice becomes two stages, one that nothing reads none. */
export function cut(graph: Graph): Stage[] {
  const groups: { region: string; nodes: Node[] }[] = [];
  const open = new Map<string, number>();
  const stageOf = new Map<number, number>();
  for (const node of graph.nodes) {
    const earliest = Math.max(0, ...node.inputs.map((v) => stageOf.get(v.id) ?? 0));
    let at = open.get(node.region);
    if (at === undefined || at < earliest) {
      at = groups.push({ region: node.region, nodes: [] }) - 1;
      open.set(node.region, at);
    }
    groups[at]?.nodes.push(node);
    for (const v of node.outputs) stageOf.set(v.id, at);
  }
  const wanted = new Set(graph.outputs.map((o) => o.value.id));
  groups.forEach((g, at) => {
    for (const n of g.nodes) for (const v of n.inputs) if ((stageOf.get(v.id) ?? at) !== at) wanted.add(v.id);
  });
  const stages = groups.map(({ region, nodes }) => {
    const own = new Set(nodes.flatMap((n) => n.outputs.map((v) => v.id)));
    const inputs = new Map(nodes.flatMap((n) => n.inputs.filter((v) => !own.has(v.id)).map((v) => [v.id, v] as const)));
    return {
      region,
      nodes,
      inputs: [...inputs.values()],
      outputs: nodes.flatMap((n) => n.outputs.filter((v) => wanted.has(v.id))),
    };
  });
  return stages.filter((s) => s.outputs.length > 0);
}

export interface Placement {
  readonly value: Value;
  readonly offset: number;
  readonly bytes: number;
}

/** Where each crossing value lives in one arena, so that values alive together never overlap. */
export interface ArenaPlan {
  readonly bytes: number;
  readonly placements: readonly Placement[];
}

const ALIGN = 64;

/** Greedy by size: the largest values first, each at the lowest offset free over its whole life. */
export function planArena(stages: readonly Stage[], permanent: ReadonlySet<number>): ArenaPlan {
  const lives = new Map<number, { value: Value; first: number; last: number }>();
  stages.forEach((s, i) => {
    for (const v of s.outputs) if (!permanent.has(v.id)) lives.set(v.id, { value: v, first: i, last: i });
    for (const v of s.inputs) {
      const life = lives.get(v.id);
      if (life !== undefined) life.last = i;
    }
  });
  const bytesOf = (v: Value): number => Math.ceil((sizeOf(v.shape) * DTYPE_BYTES[v.dtype]) / ALIGN) * ALIGN;
  const order = [...lives.values()].sort((a, b) => bytesOf(b.value) - bytesOf(a.value) || a.first - b.first || a.value.id - b.value.id);
  const placed: { first: number; last: number; offset: number; bytes: number; value: Value }[] = [];
  for (const life of order) {
    const bytes = bytesOf(life.value);
    const rivals = placed.filter((p) => p.first <= life.last && life.first <= p.last).sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const r of rivals) {
      if (offset + bytes <= r.offset) break;
      offset = Math.max(offset, r.offset + r.bytes);
    }
    placed.push({ ...life, offset, bytes });
  }
  return {
    bytes: Math.max(0, ...placed.map((p) => p.offset + p.bytes)),
    placements: placed.map(({ value, offset, bytes }) => ({ value, offset, bytes })),
  };
}
