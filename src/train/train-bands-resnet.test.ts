import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { evalKnn } from "../evals/index.ts";
import { embed, readFeatureTable } from "../features/index.ts";
import { readBackbone } from "../weights/index.ts";
import type { UserConfig } from "./config/index.ts";
import { readConfig } from "./loop/prepare.ts";
import { readMetrics } from "./run/index.ts";
import { bandRun, COUNT, writeBands } from "./testing/band-run.ts";
import { checkpointFiles, trainUntil } from "./testing/tiny-run.ts";
import { train } from "./train.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-resnet-bands-"));
  await writeBands(dir);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

test("a ResNet of five bands trains, goes on bit for bit after a stop, is scored, exported for timm, opened and used", async () => {
  const [five, out, parted] = [join(dir, "five"), join(dir, "run"), join(dir, "parted")];
  const more: UserConfig = {
    method: "dino",
    train: { batchSize: 4, steps: 2, threads: 2 },
    crops: { globalSizePx: 32, localSizePx: 32, localCount: 1 },
  };
  const { model: _, ...rest } = bandRun(five, 5, more);
  const config = {
    ...rest,
    model: { arch: "resnet18", imageSizePx: 32, channels: 5 },
    knn: { train: five, everyEpochs: 1, k: 3 },
  } as const;
  await train({ config, out });
  expect((await readMetrics(out)).flatMap((line) => line["knnTop1"] ?? []).length).toBeGreaterThan(0);
  await trainUntil(1, { config, out: parted });
  await train({ out: parted, resume: true });
  const names = ["student", "teacher", "optimizer", "method"];
  const [a, b] = [await checkpointFiles(out, 2, names), await checkpointFiles(parted, 2, names)];
  names.forEach((name, i) => expect(a[i]?.equals(b[i] ?? Buffer.alloc(0)), name).toBe(true));

  const model = join(out, "exported", "last");
  const { mean, std } = (await readConfig(out)).config.augment;
  expect(mean).toHaveLength(5);
  expect(JSON.parse(await readFile(join(model, "config.json"), "utf8"))).toMatchObject({
    architecture: "resnet18",
    model_args: { in_chans: 5 },
    pretrained_cfg: { input_size: [5, 32, 32], mean, std },
  });
  await rm(join(model, "preprocessor_config.json")); // timm's own file says as much
  const { config: network, processor } = await readBackbone(model);
  expect([network, processor]).toMatchObject([
    { family: "resnet", channels: 5 },
    { image_mean: mean, image_std: std },
  ]);
  const table = join(dir, "table.safetensors");
  expect(await embed({ model, data: five, out: table, threads: 1 })).toMatchObject({ images: COUNT, shape: [COUNT, 512] });
  expect((await readFeatureTable(table)).features.every(Number.isFinite)).toBe(true);
  expect(await evalKnn({ model, train: five, split: 0.34, k: [1], threads: 1 })).toMatchObject({ classes: 2, dim: 512 });
});
