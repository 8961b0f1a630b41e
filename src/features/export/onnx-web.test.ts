import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-web/wasm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCpu } from "../../engine/runtime/index.ts";
import type { ViTConfig } from "../../nn/index.ts";
import { writeModelFolder, type WritableConfig } from "../../weights/index.ts";
import { TINY_CONVNEXT } from "../../weights/testing/random-weights.ts";
import { weightsInUse } from "../testing/small-networks.ts";
import { onnxRun } from "./check.ts";
import { compareRows } from "./compare.ts";
import { exportModel } from "./export-model.ts";
import { SMALL_VIT } from "../../nn/testing/small-vit.ts";

const V1: ViTConfig = { ...SMALL_VIT, imageSizePx: 32, patchSizePx: 8, width: 24 };
const V2: ViTConfig = { ...V1, registers: 4, maskToken: true, layerScale: 1, posInterpolation: "size-antialias" };
const V3: ViTConfig = { ...V2, positions: "rope", registerName: "storage_tokens", keyBiasMask: true, rope: { base: 100 } };
const NETWORKS: readonly (readonly [string, WritableConfig])[] = [
  ["DINO", V1],
  ["DINOv2 with registers", V2],
  ["DINOv3", V3],
  ["ConvNeXt", TINY_CONVNEXT],
];

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera web "));
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
});
afterAll(() => rm(root, { recursive: true }));

const OUTPUTS = ["last_hidden_state", "pooler_output"] as const;

/** What onnxruntime-web's WebAssembly gives. */
async function runInWeb(bytes: Uint8Array, images: Float32Array, shape: readonly number[]): Promise<readonly ort.Tensor[]> {
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  try {
    const found = await session.run({ pixel_values: new ort.Tensor("float32", images, shape) });
    return OUTPUTS.map((name) => found[name]!); // both are outputs
  } finally {
    await session.release();
  }
}

describe.each(NETWORKS)("an export of %s in onnxruntime-web", (name, config) => {
  test.each([
    ["f32", false],
    ["f32", true],
    ["f16", true],
    ["int8", true],
  ] as const)("as %s, sizes open %s, gives what it gives in Node", async (dtype, dynamic) => {
    const model = join(root, name);
    await writeModelFolder(model, { config, tensors: weightsInUse(config) });
    const out = join(root, `${name}-${dtype}-${dynamic}.onnx`);
    const imageSizePx = "family" in config ? 64 : config.imageSizePx;
    await exportModel({ model, out, dtype, dynamic, imageSizePx, outputs: OUTPUTS, check: false, threads: 1 });
    const bytes = new Uint8Array(await readFile(out));
    const [height, width] = dynamic ? [imageSizePx, 2 * imageSizePx] : [imageSizePx, imageSizePx];
    const images = Float32Array.from({ length: 2 * 3 * height * width }, (_, i) => Math.sin(i * 0.7));
    const web = await runInWeb(bytes, images, [2, 3, height, width]);
    using device = openCpu({ threads: 1 });
    const { run, session } = onnxRun(device.env, { bytes }, OUTPUTS);
    using _closing = session;
    const node = await run(images, { batch: 2, sizePx: { height, width }, shapes: web.map(({ dims }) => dims) });
    for (const [i, wanted] of node.entries()) {
      const { dims, data } = web[i]!; // as many
      const { worstCosine, maxRelError } = compareRows(data as Float32Array, wanted, dims.at(-1) ?? 1); // the graph's outputs are float32
      expect(worstCosine).toBeGreaterThan(0.99999);
      expect(maxRelError).toBeLessThan(1e-4);
    }
  });
});
