/** @file Randomness keyed by path: Philox4x32-10 counters, so that any draw can be made again, alone and in any order. */

/** The two multipliers in halves, and the steps of the key (Salmon et al. 2011, Philox4x32). */
const [M0_HI, M0_LO] = [0xd251, 0x1f53];
const [M1_HI, M1_LO] = [0xcd9e, 0x8d57];
const [M0, M1] = [0xd2511f53 | 0, 0xcd9e8d57 | 0];
const [W0, W1] = [0x9e3779b9 | 0, 0xbb67ae85 | 0];
const ROUNDS = 10;
/** Words that a stream makes at once when it is read long. */
const MOST_WORDS = 1024;

type Words4 = readonly [number, number, number, number];

/**
 * Consecutive Philox4x32-10 blocks: counter[4], counter + 1, ... with one key -> four words each, as many as `out` holds; only the first word
 * of the counter counts on. Products by halves of 16 bits, so that the engine stays with integers.
 */
function blocksInto(out: Uint32Array, counter: Words4, key: readonly [number, number]): void {
  const [first, second, third, fourth] = counter;
  const [key0, key1] = key;
  for (let i = 0; i < out.length; i += 4) {
    let c0 = (first + (i >>> 2)) | 0;
    let c1 = second | 0;
    let c2 = third | 0;
    let c3 = fourth | 0;
    let k0 = key0 | 0;
    let k1 = key1 | 0;
    for (let round = 0; round < ROUNDS; round++) {
      const a = c0 & 0xffff;
      const b = c0 >>> 16;
      const u0 = (Math.imul(M0_HI, a) + (Math.imul(M0_LO, a) >>> 16)) | 0;
      const v0 = (Math.imul(M0_LO, b) + (u0 & 0xffff)) | 0;
      const hi0 = (Math.imul(M0_HI, b) + (u0 >>> 16) + (v0 >>> 16)) | 0;
      const c = c2 & 0xffff;
      const d = c2 >>> 16;
      const u1 = (Math.imul(M1_HI, c) + (Math.imul(M1_LO, c) >>> 16)) | 0;
      const v1 = (Math.imul(M1_LO, d) + (u1 & 0xffff)) | 0;
      const hi1 = (Math.imul(M1_HI, d) + (u1 >>> 16) + (v1 >>> 16)) | 0;
      const lo0 = Math.imul(M0, c0);
      const lo1 = Math.imul(M1, c2);
      c0 = hi1 ^ c1 ^ k0;
      c1 = lo1;
      c2 = hi0 ^ c3 ^ k1;
      c3 = lo0;
      k0 = (k0 + W0) | 0;
      k1 = (k1 + W1) | 0;
    }
    out[i] = c0;
    out[i + 1] = c1;
    out[i + 2] = c2;
    out[i + 3] = c3;
  }
}

/** One Philox4x32-10 block: counter[4], key[2] -> out[4] (Salmon et al. 2011). */
export function philox4x32(counter: Words4, key: readonly [number, number]): [number, number, number, number] {
  const out = new Uint32Array(4);
  blocksInto(out, counter, key);
  return [...out] as [number, number, number, number]; // four words
}

/** Two 32-bit words of a string: FNV-1a from two offsets, then mixed by one Philox block. */
function hashPath(seed: number, path: string): [number, number] {
  let a = 0x811c9dc5 ^ (seed >>> 0);
  let b = 0x9747b28c ^ Math.floor(seed / 0x100000000);
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i);
    a = Math.imul(a ^ c, 0x01000193);
    b = Math.imul(b ^ (c + i), 0x85ebca6b);
    b ^= b >>> 13;
  }
  const [x, y] = philox4x32([a >>> 0, b >>> 0, path.length, 0], [seed >>> 0, 0x7472]);
  return [x, y];
}

/** A stream of random numbers. Two streams of other paths share nothing; the same path gives the same stream again. */
export class Rng {
  readonly #key: [number, number];
  /** Blocks made so far. */
  #counter = 0;
  /** Words made ahead: a stream that is read on makes more at once. */
  #words = new Uint32Array(4);
  #at = 4;
  readonly seed: number;
  readonly path: string;

  constructor(seed: number, path = "") {
    this.seed = seed;
    this.path = path;
    this.#key = hashPath(seed, path);
  }

  /** An independent stream below this one: `rng.split("crop/3")`. Does not advance this stream. */
  split(path: string): Rng {
    return new Rng(this.seed, this.path === "" ? path : `${this.path}/${path}`);
  }

  /** A uniform 32-bit integer. */
  nextU32(): number {
    if (this.#at === this.#words.length) this.#refill();
    return this.#words[this.#at++] ?? 0;
  }

  #refill(): void {
    // as many blocks as there were so far: chunks are powers of two that begin at their multiples, so none crosses the end of the first word
    const words = Math.min(MOST_WORDS, 4 * Math.max(1, this.#counter));
    if (words !== this.#words.length) this.#words = new Uint32Array(words);
    const low = this.#counter >>> 0;
    blocksInto(this.#words, [low, Math.floor(this.#counter / 0x100000000), 0, 0], this.#key);
    this.#counter += this.#words.length / 4;
    this.#at = 0;
  }

  /** Uniform in [lo, hi), 32 random bits. */
  uniform(lo = 0, hi = 1): number {
    return lo + (hi - lo) * (this.nextU32() / 0x100000000);
  }

  /** A uniform integer in [0, n), without modulo bias. */
  int(n: number): number {
    const limit = Math.floor(0x100000000 / n) * n;
    for (;;) {
      const u = this.nextU32();
      if (u < limit) return u % n;
    }
  }

  bernoulli(p: number): boolean {
    return this.uniform() < p;
  }

  /** A standard normal draw (Box–Muller, two words a draw). */
  normal(mean = 0, std = 1): number {
    const u = (this.nextU32() + 1) / 0x100000001;
    const v = this.nextU32() / 0x100000000;
    return mean + std * Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
  }

  /** A normal draw cut to [lo, hi] by drawing again; the reference's `trunc_normal_` cuts at absolute ±2. */
  truncNormal(std: number, options: { readonly lo?: number; readonly hi?: number } = {}): number {
    const { lo = -2, hi = 2 } = options;
    for (;;) {
      const x = this.normal(0, std);
      if (x >= lo && x <= hi) return x;
    }
  }

  /** A permutation of 0..n-1 (Fisher–Yates). */
  permutation(n: number): Int32Array {
    const p = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.int(i + 1);
      const t = p[i] ?? 0;
      p[i] = p[j] ?? 0;
      p[j] = t;
    }
    return p;
  }
}
