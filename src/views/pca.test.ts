import { expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { alignScores, fitPca, pcaPicture, pcaPicturesOverEpochs, projectPca } from "./pca.ts";
import { goldenDir, loadGolden } from "../core/testing/golden.ts";

const rng = new Rng(3, "pca-test");
function normals(n: number): Float32Array {
  return Float32Array.from({ length: n }, () => rng.normal());
}

/** Features with clear axes: d columns, column j scaled by 1/(1+j). */
function features(n: number, d: number): Float32Array {
  return normals(n * d).map((v, i) => v / (1 + (i % d)));
}

test.skipIf(goldenDir() === undefined)("fitPca() and projectPca() meet scikit-learn's PCA up to sign", () => {
  const { json, tensors } = loadGolden("masking", "pca");
  // the golden's JSON is ours and these two fields are lists of numbers
  const reference = json as { readonly explained_variance: number[]; readonly explained_variance_ratio: number[] };
  const get = (name: string): Float32Array => tensors.get(name)?.data as Float32Array; // float32 in the file
  const x = get("x");
  const basis = fitPca(x, { d: 24, k: 3 });
  const close = (got: number, want: number): void => expect(Math.abs(got - want)).toBeLessThanOrEqual(1e-4 + 1e-4 * Math.abs(want));
  for (let j = 0; j < 3; j++) {
    close(basis.variance[j]!, reference.explained_variance[j]!);
    close(basis.variance[j]! / basis.totalVariance, reference.explained_variance_ratio[j]!);
  }
  get("y.mean").forEach((want, c) => close(basis.mean[c]!, want));
  const signs = [0, 1, 2].map((j) => {
    const row = basis.components.subarray(j * 24, (j + 1) * 24);
    const along = row.reduce((s, v, c) => s + v * get("y.components")[j * 24 + c]!, 0);
    return Math.sign(along);
  });
  get("y.components").forEach((want, i) => close(basis.components[i]! * signs[Math.floor(i / 24)]!, want));
  const plain = projectPca(x, basis);
  const white = projectPca(x, basis, { whiten: true });
  get("y.plain.scores").forEach((want, i) => close(plain[i]! * signs[i % 3]!, want));
  get("y.whitened.scores").forEach((want, i) => close(white[i]! * signs[i % 3]!, want));
});

test("fitPca() makes the largest entry of each component positive and is deterministic", () => {
  const x = features(300, 48);
  const basis = fitPca(x, { d: 48 });
  for (let j = 0; j < 3; j++) {
    const row = [...basis.components.subarray(j * 48, (j + 1) * 48)];
    expect(Math.max(...row)).toBe(Math.max(...row.map(Math.abs)));
  }
  expect(fitPca(x, { d: 48 })).toEqual(basis);
});

test("fitPca() survives features of rank 1 and constant features", () => {
  const x = new Float32Array(50 * 40).map((_, i) => Math.floor(i / 40) * ((i % 40) + 1));
  const basis = fitPca(x, { d: 40 });
  expect(basis.variance[0]! / basis.totalVariance).toBeCloseTo(1, 9);
  expect(projectPca(new Float32Array(80).fill(2), fitPca(new Float32Array(80).fill(2), { d: 40 }))).toEqual(new Float32Array(6));
});

test("fitPca() refuses bad shapes and NaN", () => {
  expect(() => fitPca(new Float32Array(5), { d: 2 })).toThrow(/Cannot read features of width 2/);
  expect(() => fitPca(new Float32Array(2), { d: 2 })).toThrow(/there are 1 rows/);
  expect(() => fitPca(new Float32Array(8), { d: 2, k: 3 })).toThrow(/give 1 to 2/);
  expect(() => fitPca(Float32Array.of(1, NaN, 2, 3), { d: 2, k: 1 })).toThrow(RangeError);
});

test("alignScores() undoes a rotation with procrustes and a flip with signs", () => {
  const b = normals(60);
  const [c, s] = [Math.cos(2), Math.sin(2)];
  const turned = new Float32Array(60);
  for (let i = 0; i < 60; i += 3) turned.set([c * b[i]! - s * b[i + 1]!, s * b[i]! + c * b[i + 1]!, -b[i + 2]!], i);
  alignScores(turned, b, { k: 3 }).forEach((v, i) => expect(v).toBeCloseTo(b[i]!, 5));
  const flipped = b.map((v, i) => (i % 3 === 1 ? -v : v));
  expect(alignScores(flipped, b, { k: 3, alignment: "signs" })).toEqual(b);
  expect(() => alignScores(b, new Float32Array(3), { k: 3 })).toThrow(/lengths differ/);
});

test("alignScores() stays a rotation when scores have fewer directions than k", () => {
  const flat = Float32Array.from({ length: 30 }, (_, i) => (i % 3 === 0 ? rng.normal() : 0));
  expect(alignScores(flat, flat, { k: 3 }).every((v, i) => Math.abs(v - flat[i]!) < 1e-5)).toBe(true);
});

test("pcaPicturesOverEpochs() keeps colours when an epoch only turns the features", () => {
  const grid = { rows: 4, cols: 6 };
  const [d, p] = [16, 24];
  const tokens = [features(p, d), features(p, d)];
  const flipped = tokens.map((t) => t.map((v) => -v)); // the same features, every axis reversed
  const run = [flipped, tokens].map((epoch) => epoch.map((t) => ({ tokens: t, grid })));
  const [first, last] = pcaPicturesOverEpochs(run, { d, patchPx: 2 });
  expect(last?.[0]).toMatchObject({ width: 12, height: 8 });
  for (const i of [0, 1]) expect(Math.max(...first![i]!.data.map((v, j) => Math.abs(v - last![i]!.data[j]!)))).toBeLessThanOrEqual(1);
});

test("pcaPicture() separates two kinds of patches and works with narrow features", () => {
  const two = Float32Array.from({ length: 16 * 8 }, (_, i) => (Math.floor(i / 8) < 8 ? 1 : -1) * (i % 8) + 0.01 * rng.normal());
  const { data } = pcaPicture(two, { rows: 4, cols: 4 }, { d: 8, patchPx: 1 });
  expect(Math.abs(data[0]! - data[45]!)).toBeGreaterThan(200);
  expect(pcaPicture(normals(32), { rows: 4, cols: 4 }, { d: 2, patchPx: 1 }).data.length).toBe(48);
  expect(() => pcaPicture(two, { rows: 4, cols: 5 }, { d: 8 })).toThrow(/leave class and register tokens out/);
});
