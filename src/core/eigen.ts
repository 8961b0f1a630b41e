/** @file Eigenvectors of small symmetric matrices in float64: Jacobi rotations for all of them, subspace iteration for the first few. */
import { Rng } from "./rng.ts";

/** `values` fall; row `i` of `vectors` [k, d] belongs to `values[i]` and has unit length. */
export interface Eigen {
  readonly values: Float64Array;
  readonly vectors: Float64Array;
}

const SWEEPS = 60;

/** Rotates rows and columns p, q of `a` so that a[p, q] = 0, and rows p, q of `v` along (Golub & Van Loan §8.5). */
function rotate(a: Float64Array, v: Float64Array, plane: { readonly d: number; readonly p: number; readonly q: number }): void {
  const { d, p, q } = plane;
  const apq = a[p * d + q]!; // p, q < d here and below
  const theta = (a[q * d + q]! - a[p * d + p]!) / (2 * apq);
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1);
  const s = t * c;
  for (let i = 0; i < d; i++) {
    const [x, y] = [a[i * d + p]!, a[i * d + q]!];
    a[i * d + p] = c * x - s * y;
    a[i * d + q] = s * x + c * y;
  }
  for (let i = 0; i < d; i++) {
    const [x, y] = [a[p * d + i]!, a[q * d + i]!];
    a[p * d + i] = c * x - s * y;
    a[q * d + i] = s * x + c * y;
    const [vx, vy] = [v[p * d + i]!, v[q * d + i]!];
    v[p * d + i] = c * vx - s * vy;
    v[q * d + i] = s * vx + c * vy;
  }
}

function identity(d: number): Float64Array {
  const m = new Float64Array(d * d);
  for (let i = 0; i < d; i++) m[i * d + i] = 1;
  return m;
}

/** All eigenpairs of the symmetric `matrix` [d, d] by cyclic Jacobi; for d up to about 100. */
export function jacobiEigen(matrix: Float64Array, d: number): Eigen {
  const a = matrix.slice();
  const v = identity(d);
  const scale = a.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    let off = 0;
    for (let p = 0; p < d; p++)
      for (let q = p + 1; q < d; q++) {
        const size = Math.abs(a[p * d + q]!); // p, q < d
        off = Math.max(off, size);
        if (size > 1e-16 * scale) rotate(a, v, { d, p, q });
      }
    if (off <= 1e-15 * scale) break;
  }
  const order = Array.from({ length: d }, (_, i) => i).sort((i, j) => a[j * d + j]! - a[i * d + i]!);
  const vectors = new Float64Array(d * d);
  for (const [row, i] of order.entries()) vectors.set(v.subarray(i * d, (i + 1) * d), row * d);
  return { values: Float64Array.from(order, (i) => a[i * d + i]!), vectors };
}

function dot(a: Float64Array, b: Float64Array): number {
  let s = 0;
  for (let i = 0; i < a.length; i++) s += a[i]! * b[i]!; // equal lengths by the callers
  return s;
}

/** Makes the rows [m, d] orthonormal in place (modified Gram–Schmidt, twice); a row that vanishes is drawn anew. */
function orthonormalize(rows: Float64Array, options: { readonly m: number; readonly d: number; readonly rng: Rng }): void {
  const { m, d, rng } = options;
  for (let i = 0; i < m; i++) {
    const row = rows.subarray(i * d, (i + 1) * d);
    for (let pass = 0; pass < 3; pass++) {
      const before = Math.sqrt(dot(row, row));
      for (let j = 0; j < i; j++) {
        const other = rows.subarray(j * d, (j + 1) * d);
        const along = dot(row, other);
        for (let c = 0; c < d; c++) row[c]! -= along * other[c]!; // c < d
      }
      const after = Math.sqrt(dot(row, row));
      if (after > 1e-13 * before && after > 1e-290) for (let c = 0; c < d; c++) row[c]! /= after;
      else for (let c = 0; c < d; c++) row[c] = rng.normal();
    }
  }
}

/** rows [m, d] · matrix [d, d], the matrix symmetric. */
function multiply(rows: Float64Array, matrix: Float64Array, size: { readonly m: number; readonly d: number }): Float64Array {
  const { m, d } = size;
  const out = new Float64Array(m * d);
  for (let i = 0; i < m; i++) {
    const row = rows.subarray(i * d, (i + 1) * d);
    for (let c = 0; c < d; c++) out[i * d + c] = dot(row, matrix.subarray(c * d, (c + 1) * d));
  }
  return out;
}

/** out [m, d] = turn [m, m] · rows [m, d]. */
function turnRows(turn: Float64Array, rows: Float64Array, size: { readonly m: number; readonly d: number }): Float64Array {
  const { m, d } = size;
  const out = new Float64Array(m * d);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < m; j++) {
      const w = turn[i * m + j]!; // i, j < m
      for (let c = 0; c < d; c++) out[i * d + c]! += w * rows[j * d + c]!; // c < d
    }
  return out;
}

const MAX_ITERATIONS = 500;

/** The first `k` eigenpairs of the symmetric positive semidefinite `matrix` [d, d]: subspace iteration with Rayleigh–Ritz, seeded start. */
export function topEigen(matrix: Float64Array, options: { readonly d: number; readonly k: number }): Eigen {
  const { d, k } = options;
  const m = Math.min(d, k + 8); // spare vectors speed up convergence where eigenvalues are close
  if (d <= 32 || m === d) {
    const all = jacobiEigen(matrix, d);
    return { values: all.values.slice(0, k), vectors: all.vectors.slice(0, k * d) };
  }
  const rng = new Rng(0, "core/eigen");
  let rows: Float64Array = Float64Array.from({ length: m * d }, () => rng.normal());
  orthonormalize(rows, { m, d, rng });
  let values: Float64Array = new Float64Array(m);
  for (let iteration = 0; iteration < MAX_ITERATIONS; iteration++) {
    const image = multiply(rows, matrix, { m, d });
    const small = new Float64Array(m * m);
    for (let i = 0; i < m; i++)
      for (let j = 0; j < m; j++) small[i * m + j] = dot(image.subarray(i * d, (i + 1) * d), rows.subarray(j * d, (j + 1) * d));
    const ritz = jacobiEigen(small, m);
    values = Float64Array.from(ritz.values);
    rows = turnRows(ritz.vectors, rows, { m, d });
    const turned = turnRows(ritz.vectors, image, { m, d }); // = rows · matrix
    if (residual(turned, { rows, values, k, d }) <= 1e-10 * Math.max(values[0]!, 1e-300)) break; // m >= 1
    rows = turned;
    orthonormalize(rows, { m, d, rng });
  }
  return { values: values.slice(0, k), vectors: rows.slice(0, k * d) };
}

/** max over the first k of |A v - λ v|. */
function residual(
  image: Float64Array,
  pairs: { readonly rows: Float64Array; readonly values: Float64Array; readonly k: number; readonly d: number },
): number {
  const { rows, values, k, d } = pairs;
  let worst = 0;
  for (let i = 0; i < k; i++) {
    let s = 0;
    for (let c = 0; c < d; c++) s += (image[i * d + c]! - values[i]! * rows[i * d + c]!) ** 2; // i < k, c < d
    worst = Math.max(worst, Math.sqrt(s));
  }
  return worst;
}
