/** @file Weighted k-NN, 10,000 queries against 50,000 × 384, k = 20; the twin of a NumPy, PyTorch and FAISS script. */
import { Rng } from "../src/core/index.ts";
import { weightedVote } from "../src/evals/index.ts";
import { nearestNeighbours, normalizeRows } from "../src/features/index.ts";

const [n, m, dim, classes] = [50_000, 10_000, 384, 1000];
const rng = new Rng(0);
const rows = (count: number): Float32Array => {
  const x = Float32Array.from({ length: count * dim }, () => rng.normal());
  normalizeRows(x, dim);
  return x;
};
const labels = (count: number): Int32Array => Int32Array.from({ length: count }, () => rng.int(classes));
const [bank, queries, bankLabels, queryLabels] = [rows(n), rows(m), labels(n), labels(m)];
const times: number[] = [];
for (let i = 0; i < 4; i++) {
  const started = performance.now();
  const neighbours = await nearestNeighbours(bank, queries, { dim, k: 20, threads: 2 });
  weightedVote({ neighbours, bankLabels, queryLabels, classes, ks: [20], temperature: 0.07 });
  times.push(performance.now() - started);
}
const sorted = times.slice(1).sort((a, b) => a - b);
console.log(
  JSON.stringify({
    script: "knn",
    median_ms: Math.round(sorted[sorted.length >> 1] ?? NaN),
    rss_mb: Math.round(process.resourceUsage().maxRSS / 1024),
  }),
);
