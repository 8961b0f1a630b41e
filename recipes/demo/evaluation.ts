/** @file Two questions about drawings never seen: is the same drawing found again, and the same thing by another hand? */
import { nearestNeighbours, normalizeRows } from "../../src/features/index.ts";
import type { HeldOut } from "./held-out.ts";
import type { Represent, Representation } from "./representations.ts";

/** Neighbours of a drawing that are kept for the page. */
export const KEPT = 5;
/** Neighbours asked for, so that enough are left without the vendor's own drawings. */
const ASKED = 60;

export interface Evaluation {
  readonly name: string;
  /** recall@1, 0 to 1: the second crop finds the first crop of its drawing. */
  readonly otherCrop: number;
  /** recall@1, 0 to 1: the nearest drawing by another vendor shows the same thing. */
  readonly otherVendor: number;
  /** By drawing: whose first crop is nearest to its second crop. */
  readonly foundCrop: Int32Array;
  /** By drawing: the nearest drawings by other vendors, `[n, KEPT]`, -1 where there are fewer. */
  readonly neighbours: Int32Array;
}

/** What a blind guess would reach. */
export interface Chance {
  readonly otherCrop: number;
  readonly otherVendor: number;
}

async function unitRows(images: Float32Array, count: number, represent: Represent): Promise<{ features: Float32Array; dim: number }> {
  const { features, dim } = await represent(images, count);
  const own = features.slice();
  normalizeRows(own, dim);
  return { features: own, dim };
}

/** By drawing: how many drawings of the same thing by other vendors there are. */
export function othersOf({ drawings }: HeldOut): Int32Array {
  return Int32Array.from(drawings, (own) => drawings.filter((d) => d.identity === own.identity && d.vendor !== own.vendor).length);
}

/** Chance of a uniform guess: among all drawings, and among those by other vendors. */
export function chanceOf(heldOut: HeldOut): Chance {
  const { drawings } = heldOut;
  const asked = [...othersOf(heldOut)].flatMap((right, i) => {
    const among = drawings.filter((d) => d.vendor !== drawings[i]?.vendor).length;
    return right > 0 ? [right / among] : [];
  });
  return { otherCrop: 1 / drawings.length, otherVendor: asked.reduce((a, b) => a + b, 0) / Math.max(1, asked.length) };
}

async function findCrops({ drawings, first, second }: HeldOut, represent: Represent): Promise<Int32Array> {
  const n = drawings.length;
  const [bank, queries] = [await unitRows(first, n, represent), await unitRows(second, n, represent)];
  return (await nearestNeighbours(bank.features, queries.features, { dim: bank.dim, k: 1, threads: 2 })).indices;
}

async function findOthers({ drawings, whole }: HeldOut, represent: Represent): Promise<Int32Array> {
  const n = drawings.length;
  const { features, dim } = await unitRows(whole, n, represent);
  const k = Math.min(ASKED, n);
  const { indices } = await nearestNeighbours(features, features, { dim, k, threads: 2 });
  const out = new Int32Array(n * KEPT).fill(-1);
  for (let i = 0; i < n; i++) {
    const others = Array.from(indices.subarray(i * k, (i + 1) * k)).filter((j) => drawings[j]?.vendor !== drawings[i]?.vendor);
    out.set(others.slice(0, KEPT), i * KEPT);
  }
  return out;
}

/** recall@1 of both tasks, and what was found. */
export async function evaluate(heldOut: HeldOut, { name, represent }: Representation): Promise<Evaluation> {
  const { drawings } = heldOut;
  const foundCrop = await findCrops(heldOut, represent);
  const neighbours = await findOthers(heldOut, represent);
  const others = othersOf(heldOut);
  let [same, asked, right] = [0, 0, 0];
  for (const [i, own] of drawings.entries()) {
    if (foundCrop[i] === i) same++;
    if (others[i] === 0) continue;
    asked++;
    if (drawings[neighbours[i * KEPT] ?? -1]?.identity === own.identity) right++;
  }
  return { name, otherCrop: same / drawings.length, otherVendor: right / Math.max(1, asked), foundCrop, neighbours };
}
