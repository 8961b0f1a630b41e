/**
 * @file Times one fused AdamW + EMA step over the parameters of a ViT-Ti/16 DINO model (27.5 M). Prints one JSON line.
 * `node bench/optimizer.ts [--kernel js|wasm] [--threads 2] [--params 27500000] [--steps 20]`
 */
import { parseArgs } from "node:util";
import { ADAMW_DEFAULTS, allocShared, makeLayout, openFusedOptimizer, type ParamGroup } from "../src/optim/index.ts";

const { values } = parseArgs({
  options: {
    kernel: { type: "string", default: "wasm" },
    threads: { type: "string", default: "2" },
    params: { type: "string", default: "27500000" },
    steps: { type: "string", default: "20" },
  },
});
const kernel = values.kernel === "js" ? "js" : "wasm";
const threads = Number(values.threads);
const count = Number(values.params);

// As in the model: one last layer holds most of it, the rest is blocks of a few hundred thousand with small neighbours.
const rest = Math.round(count * 0.4);
const layout = makeLayout([
  { name: "dino_head.last_layer.weight_v", shape: [count - rest] },
  ...Array.from({ length: 48 }, (_, i) => ({ name: `backbone.blocks.${i}.weight`, shape: [Math.floor(rest / 48), 1] })),
  ...Array.from({ length: 100 }, (_, i) => ({ name: `backbone.blocks.${i}.bias`, shape: [192] })),
]);
const groups = layout.entries.map((): ParamGroup => ({ weightDecay: true, lrScale: 1, frozen: false, module: "" }));
const { flat, memory } = allocShared(layout, ["params", "grads", "mean", "square", "teacher"]);
for (const [, view] of flat.params.views()) for (let i = 0; i < view.length; i++) view[i] = Math.sin(i) * 0.02;
for (const [, view] of flat.grads.views()) for (let i = 0; i < view.length; i++) view[i] = Math.cos(i) * 0.001;

await using optimizer = openFusedOptimizer({ ...flat, memory, config: ADAMW_DEFAULTS, layout, groups, threads, kernel });
const times: number[] = [];
for (let i = 0; i < Number(values.steps) + 3; i++) {
  const start = performance.now();
  await optimizer.step({ lr: 1e-4, weightDecay: 0.04, emaMomentum: 0.996, clip: { kind: "per-parameter", norm: 3 } });
  if (i >= 3) times.push(performance.now() - start);
}
times.sort((a, b) => a - b);
const median = times[Math.floor(times.length / 2)] ?? NaN;
console.log(
  JSON.stringify({
    bench: "optimizer",
    ms: Number(median.toFixed(1)),
    minMs: Number((times[0] ?? NaN).toFixed(1)),
    params: layout.length,
    kernel: optimizer.kernel,
    threads,
  }),
);
