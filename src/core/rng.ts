/** @file Randomness keyed by path: Philox4x32-10 counters, so that any draw can be made again, alone and in any order. */

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

function mulHiLo(a: number, b: number): [hi: number, lo: number] {
  const aLo = a & 0xffff;
  const aHi = a >>> 16;
  const bLo = b & 0xffff;
  const bHi = b >>> 16;
  const mid = aHi * bLo + ((aLo * bLo) >>> 16);
  const mid2 = aLo * bHi + (mid % 0x10000);
  const hi = aHi * bHi + Math.floor(mid / 0x10000) + Math.floor(mid2 / 0x10000);
  return [hi >>> 0, Math.imul(a, b) >>> 0];
}

/** One Philox4x32-10 block: counter[4], key[2] -> out[4] (Salmon et al. 2011). */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [hi0, lo0] = mulHiLo(M0, c0);
    const [hi1, lo1] = mulHiLo(M1, c2);
    [c0, c1, c2, c3] = [(hi1 ^ c1 ^ k0) >>> 0, lo1, (hi0 ^ c3 ^ k1) >>> 0, lo0];
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  return [c0, c1, c2, c3];
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
  #counter = 0;
  #block: [number, number, number, number] = [0, 0, 0, 0];
  #left = 0;
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
    if (this.#left === 0) {
      this.#block = philox4x32([this.#counter >>> 0, Math.floor(this.#counter / 0x100000000), 0, 0], this.#key);
      this.#counter++;
      this.#left = 4;
    }
    return this.#block[4 - this.#left--] ?? 0;
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
