/** @file Principal components of features, and patch tokens turned into colours, so that one sees what a network tells apart. */
import { jacobiEigen, ShapeError, topEigen } from "../core/index.ts";
import { resizeMap, toRgb, type Grid, type RgbImage, type Smoothing } from "./picture.ts";

export interface PcaBasis {
  readonly d: number;
  readonly k: number;
  readonly mean: Float64Array;
  /** [k, d], unit rows; in each the entry of largest size is positive. */
  readonly components: Float64Array;
  /** Variance along each component, divided by n - 1. */
  readonly variance: Float64Array;
  readonly totalVariance: number;
}

const BLOCK_ROWS = 64;

function columnMeans(x: Float32Array, size: { readonly n: number; readonly d: number }): Float64Array {
  const { n, d } = size;
  const mean = new Float64Array(d);
  for (let i = 0; i < n; i++) for (let c = 0; c < d; c++) mean[c]! += x[i * d + c]!; // i < n, c < d
  return mean.map((v) => v / n);
}

/** Covariance [d, d] with n - 1, in float64: rows are centred and transposed in blocks so that inner loops run over neighbours. */
function covariance(x: Float32Array, mean: Float64Array, n: number): Float64Array {
  const d = mean.length;
  const cov = new Float64Array(d * d);
  const block = new Float64Array(d * BLOCK_ROWS);
  for (let start = 0; start < n; start += BLOCK_ROWS) {
    const rows = Math.min(BLOCK_ROWS, n - start);
    for (let c = 0; c < d; c++) for (let r = 0; r < rows; r++) block[c * BLOCK_ROWS + r] = x[(start + r) * d + c]! - mean[c]!; // in range
    for (let i = 0; i < d; i++)
      for (let j = i; j < d; j++) {
        let s = 0;
        for (let r = 0; r < rows; r++) s += block[i * BLOCK_ROWS + r]! * block[j * BLOCK_ROWS + r]!; // r < rows
        cov[i * d + j]! += s;
      }
  }
  const scale = 1 / Math.max(1, n - 1);
  for (let i = 0; i < d; i++) for (let j = i; j < d; j++) cov[j * d + i] = cov[i * d + j] = cov[i * d + j]! * scale;
  return cov;
}

/** Makes the entry of largest size positive in each row, so that equal data give equal signs. */
function fixSigns(rows: Float64Array, d: number): void {
  for (let start = 0; start < rows.length; start += d) {
    const row = rows.subarray(start, start + d);
    let best = 0;
    for (const v of row) if (Math.abs(v) > Math.abs(best) * (1 + 1e-9)) best = v; // ties go to the first
    if (best < 0) for (let c = 0; c < d; c++) row[c] = -row[c]!; // c < d
  }
}

function rowsOf(features: Float32Array, d: number): number {
  if (d < 1 || features.length % d !== 0)
    throw new ShapeError(`Cannot read features of width ${d}: there are ${features.length} values; give a whole number of rows`);
  return features.length / d;
}

/**
 * Fits the first `k` principal components of features [n, d]: eigenvectors of the covariance (n - 1) in float64.
 * Time n · d² / 2 for the covariance. Throws ShapeError when there are fewer than two rows or `k > d`, RangeError on NaN or infinity.
 */
export function fitPca(features: Float32Array, options: { readonly d: number; readonly k?: number }): PcaBasis {
  const { d, k = 3 } = options;
  const n = rowsOf(features, d);
  if (n < 2) throw new ShapeError(`Cannot fit a PCA: there are ${n} rows; give at least 2`);
  if (k < 1 || k > d) throw new ShapeError(`Cannot fit a PCA with ${k} components: the features are ${d} wide; give 1 to ${d}`);
  const mean = columnMeans(features, { n, d });
  if (!mean.every(Number.isFinite))
    throw new RangeError("Cannot fit a PCA: the features hold NaN or infinity; check the run for divergence");
  const cov = covariance(features, mean, n);
  let totalVariance = 0;
  for (let i = 0; i < d; i++) totalVariance += cov[i * d + i]!; // i < d
  const { values, vectors } = topEigen(cov, { d, k });
  fixSigns(vectors, d);
  return { d, k, mean, components: vectors, variance: values.map((v) => Math.max(0, v)), totalVariance };
}

/** Scores [n, k] = (x - mean) · componentsᵀ; `whiten` divides each by its standard deviation. */
export function projectPca(features: Float32Array, basis: PcaBasis, options: { readonly whiten?: boolean } = {}): Float32Array {
  const { d, k, mean, components, variance } = basis;
  const n = rowsOf(features, d);
  const scale = Array.from(variance, (v) => (options.whiten === true ? 1 / Math.sqrt(Math.max(v, 1e-30)) : 1));
  const out = new Float32Array(n * k);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < k; j++) {
      let s = 0;
      for (let c = 0; c < d; c++) s += (features[i * d + c]! - mean[c]!) * components[j * d + c]!; // in range
      out[i * k + j] = s * scale[j]!; // j < k
    }
  return out;
}

export type PcaAlignment = "procrustes" | "signs";

/**
 * The turn [k, k] that brings `scores` [n, k] nearest to `reference` [n, k]: R = argmin |scores · R - reference| over orthogonal R
 * (M = scoresᵀ · reference = U S Vᵀ, R = U Vᵀ), or only sign flips with `signs`.
 */
export function alignScores(
  scores: Float32Array,
  reference: Float32Array,
  options: { readonly k: number; readonly alignment?: PcaAlignment },
): Float32Array {
  const { k, alignment = "procrustes" } = options;
  if (scores.length !== reference.length)
    throw new ShapeError(
      `Cannot align ${scores.length} scores with ${reference.length}: lengths differ; give the same tokens at both epochs`,
    );
  const n = rowsOf(scores, k);
  const m = new Float64Array(k * k);
  for (let i = 0; i < n; i++)
    for (let a = 0; a < k; a++) for (let b = 0; b < k; b++) m[a * k + b]! += scores[i * k + a]! * reference[i * k + b]!; // in range
  const turn = alignment === "signs" ? signTurn(m, k) : polarFactor(m, k);
  const out = new Float32Array(n * k);
  for (let i = 0; i < n; i++)
    for (let b = 0; b < k; b++) {
      let s = 0;
      for (let a = 0; a < k; a++) s += scores[i * k + a]! * turn[a * k + b]!; // in range
      out[i * k + b] = s;
    }
  return out;
}

function signTurn(m: Float64Array, k: number): Float64Array {
  const turn = new Float64Array(k * k);
  for (let a = 0; a < k; a++) turn[a * k + a] = m[a * k + a]! < 0 ? -1 : 1; // a < k
  return turn;
}

/** U Vᵀ of M = U S Vᵀ: V from MᵀM, u_i = M v_i made orthonormal, empty directions filled with unit vectors. */
function polarFactor(m: Float64Array, k: number): Float64Array {
  const mtm = new Float64Array(k * k);
  for (let a = 0; a < k; a++) for (let b = 0; b < k; b++) for (let i = 0; i < k; i++) mtm[a * k + b]! += m[i * k + a]! * m[i * k + b]!; // in range
  const { vectors } = jacobiEigen(mtm, k);
  const us: number[][] = [];
  const turn = new Float64Array(k * k);
  for (let r = 0; r < k; r++) {
    const mv = Array.from({ length: k }, (_, a) => sumOver(k, (b) => m[a * k + b]! * vectors[r * k + b]!));
    const u = orthonormalTo(us, mv);
    us.push(u);
    for (let a = 0; a < k; a++) for (let b = 0; b < k; b++) turn[a * k + b]! += u[a]! * vectors[r * k + b]!; // in range
  }
  return turn;
}

function sumOver(n: number, term: (i: number) => number): number {
  let s = 0;
  for (let i = 0; i < n; i++) s += term(i);
  return s;
}

/** The first of `wanted`, e_0, e_1, … that has a part outside the span of `basis`, made a unit vector orthogonal to it. */
function orthonormalTo(basis: readonly number[][], wanted: readonly number[]): number[] {
  const k = wanted.length;
  const candidates = [wanted, ...Array.from({ length: k }, (_, i) => Array.from({ length: k }, (__, j) => (i === j ? 1 : 0)))];
  for (const candidate of candidates) {
    const start = Math.hypot(...candidate);
    let v = [...candidate];
    for (const u of [...basis, ...basis]) {
      const along = sumOver(k, (i) => v[i]! * u[i]!); // i < k
      v = v.map((x, i) => x - along * u[i]!);
    }
    const left = Math.hypot(...v);
    if (left > 1e-6 * start) return v.map((x) => x / left);
  }
  return [...wanted];
}

/** Patch tokens [p, d] of one image, p = rows · cols. */
export interface TokenMap {
  readonly tokens: Float32Array;
  readonly grid: Grid;
}

export interface PcaPictureOptions {
  readonly d: number;
  /** Pixels a patch becomes. */
  readonly patchPx?: number;
  readonly smoothing?: Smoothing;
  /** Scores at these percentiles become 0 and 255; what lies outside is cut. */
  readonly percentiles?: readonly [low: number, high: number];
  readonly alignment?: PcaAlignment;
}

/** The value at `percent` of sorted values, linear between neighbours. */
function percentile(sorted: Float32Array, percent: number): number {
  const at = (percent / 100) * (sorted.length - 1);
  const lo = Math.floor(at);
  const [a, b] = [sorted[lo] ?? 0, sorted[Math.min(sorted.length - 1, lo + 1)] ?? 0];
  return a + (b - a) * (at - lo);
}

/** Scores [n, 3] -> colours 0..1, each component stretched between its percentiles over all tokens. */
function scoresToColours(scores: Float32Array, percentiles: readonly [number, number]): Float32Array {
  const out = new Float32Array(scores.length);
  for (let c = 0; c < 3; c++) {
    const column = scores.filter((_, i) => i % 3 === c).sort();
    const [lo, hi] = [percentile(column, percentiles[0]), percentile(column, percentiles[1])];
    for (let i = c; i < scores.length; i += 3) out[i] = hi > lo ? (scores[i]! - lo) / (hi - lo) : 0.5; // i < length
  }
  return out;
}

function checkTokens(images: readonly TokenMap[], d: number): void {
  for (const { tokens, grid } of images)
    if (tokens.length !== grid.rows * grid.cols * d)
      throw new ShapeError(
        `Cannot draw patch tokens: ${tokens.length} values for a grid of ${grid.rows} × ${grid.cols} × ${d}; leave class and register tokens out`,
      );
}

function joinTokens(images: readonly TokenMap[]): Float32Array {
  const all = new Float32Array(images.reduce((n, { tokens }) => n + tokens.length, 0));
  let at = 0;
  for (const { tokens } of images) {
    all.set(tokens, at);
    at += tokens.length;
  }
  return all;
}

/** Whitened scores [n, 3] of the joint basis of one epoch; with d < 3 the missing ones are 0. */
function jointScores(images: readonly TokenMap[], d: number): Float32Array {
  const all = joinTokens(images);
  const k = Math.min(3, d);
  const scores = projectPca(all, fitPca(all, { d, k }), { whiten: true });
  if (k === 3) return scores;
  const out = new Float32Array((all.length / d) * 3);
  for (let i = 0; i < scores.length; i++) out[Math.floor(i / k) * 3 + (i % k)] = scores[i]!; // same rows
  return out;
}

function drawImages(colours: Float32Array, images: readonly TokenMap[], options: PcaPictureOptions): RgbImage[] {
  const { patchPx = 8, smoothing = "nearest" } = options;
  let at = 0;
  return images.map(({ grid }) => {
    const count = grid.rows * grid.cols * 3;
    const map = { ...grid, channels: 3, data: colours.subarray(at, at + count) };
    at += count;
    return toRgb(resizeMap(map, { width: grid.cols * patchPx, height: grid.rows * patchPx, smoothing }));
  });
}

/**
 * First three principal components of patch tokens as RGB, for several images at several epochs: `epochs[e][i]` -> picture `[e][i]`.
 * One basis an epoch, fitted over all images together, so that equal colours mean equal features. Going back from the last epoch, scores
 * are turned onto those of the following epoch (Procrustes), so that colours change only where features do.
 */
export function pcaPicturesOverEpochs(epochs: readonly (readonly TokenMap[])[], options: PcaPictureOptions): RgbImage[][] {
  const { d, percentiles = [1, 99], alignment = "procrustes" } = options;
  const out: RgbImage[][] = [];
  let following: Float32Array | undefined;
  for (const images of epochs.toReversed()) {
    checkTokens(images, d);
    const own = jointScores(images, d);
    const scores = following === undefined ? own : alignScores(own, following, { k: 3, alignment });
    following = scores;
    out.push(drawImages(scoresToColours(scores, percentiles), images, options));
  }
  return out.reverse();
}

/** The same for several images of one network. */
export function pcaPictures(images: readonly TokenMap[], options: PcaPictureOptions): RgbImage[] {
  return pcaPicturesOverEpochs([images], options)[0] ?? [];
}

/** The same for one image: patch tokens [p, d] on `grid` -> RGB, `patchPx` pixels a patch. */
export function pcaPicture(patchTokens: Float32Array, grid: Grid, options: PcaPictureOptions): RgbImage {
  return pcaPictures([{ tokens: patchTokens, grid }], options)[0]!; // one image in, one out
}
