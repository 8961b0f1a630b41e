import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type HostTensor, Rng } from "../core/index.ts";
import { loadModel, readFeatureTable } from "../features/index.ts";
import { encodeJpeg } from "../images/node/index.ts";
import { vitPreset } from "../nn/index.ts";
import { writeSafetensors } from "../weights/index.ts";
import { change, COMMIT, HubServer, serve, sha256 } from "../weights/hub/testing/hub-server.ts";
import { randomBackbone } from "../weights/testing/random-weights.ts";
import { writeTorch } from "../weights/testing/write-torch.ts";
import { runCli } from "./testing/run-cli.ts";

/** Released weights cannot be had everywhere: files of the same sizes, names and layout stand in, from a hub on loopback. */
const PATCHES = 32 ** 2; // of 16 px in 518 px, the rest is not seen
const before = { cwd: process.cwd(), env: { ...process.env } };
let dir = "";
let hub: HubServer;

async function run(line: string): Promise<string> {
  const { code, all } = await runCli(line.split(" "));
  expect(code, `${line}\n${all}`).toBe(0);
  return all;
}

/** A backbone's tensors as Meta's file has them: our names are theirs. */
const published = (id: "dino_vits16" | "dinov2_vits14", seed: number): Map<string, HostTensor> => randomBackbone(vitPreset(id), seed);

/** Serves a folder as the hub does, its weights by a redirect to a store whose connection breaks twice. */
async function serveFolder(folder: string, id: string): Promise<void> {
  const names = await readdir(folder);
  const files = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const)));
  serve(hub, { id, files });
  const body = files["model.safetensors"] ?? new Uint8Array();
  const linked = { "x-repo-commit": COMMIT, "x-linked-etag": `"${sha256(body)}"`, "x-linked-size": String(body.length) };
  const location = `${hub.url}/store/weights`;
  change(hub, "model.safetensors", { instead: (response) => (response.writeHead(302, { ...linked, location }).end(), true) });
  const etag = `"${sha256(body)}"`;
  hub.files.set("/store/weights", { body, headers: { etag }, cut: { afterBytes: Math.floor(body.length / 3), times: [1, 2] } });
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-released-"));
  process.chdir(dir);
  process.env["TRICERA_CACHE"] = join(dir, "cache");
  hub = await HubServer.start();
  process.env["HF_ENDPOINT"] = hub.url;
  await mkdir("photos");
  const rng = new Rng(1);
  for (const [name, width, height] of [
    ["a", 320, 240],
    ["b", 200, 300],
    ["c", 64, 64],
  ] as const)
    await writeFile(
      join("photos", `${name}.jpg`),
      await encodeJpeg({ width, height, data: Uint8Array.from({ length: width * height * 3 }, (_, i) => (i % 97) + rng.int(120)) }),
    );
  await writeTorch("dino_deitsmall16_pretrain.pth", published("dino_vits16", 2));
  await writeSafetensors("dinov2_vits14.safetensors", published("dinov2_vits14", 3));
  await run("models convert dinov2_vits14.safetensors --arch dinov2_vits14 --to hf --out served");
  await serveFolder("served", "facebook/dinov2-small");
}, 120_000);
afterAll(async () => {
  process.chdir(before.cwd);
  process.env = before.env;
  await hub[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

test("list, pull over a cut connection, and info", async () => {
  expect(await run("models list")).toMatch(/dinov2_vits14\b/);
  expect(await run("models pull facebook/dinov2-small")).toMatch(/Apache/);
  expect(hub.askedFor("/store/weights").map(({ headers }) => headers.range !== undefined)).toEqual([false, true, true]);
  const pulled = await readFile("cache/models/facebook--dinov2-small/model.safetensors");
  expect(pulled.equals(await readFile("served/model.safetensors"))).toBe(true); // toEqual() takes a minute for so many bytes
  expect(await run("models info dinov3_vits16plus")).toMatch(/28\.7 M/);
});

test("convert Meta's file, then embed by the name in the cache and by the folder", async () => {
  await run("models convert dino_deitsmall16_pretrain.pth --arch dino_vits16 --to hf --out dino-s16/");
  await hub[Symbol.asyncDispose](); // from here on, nobody answers
  await run("embed --model facebook/dinov2-small --data photos/ --out photos.parquet --pool cls+mean");
  const { features, shape } = await readFeatureTable("photos.parquet");
  expect(shape).toEqual([3, 768]);
  await run("embed --model dino-s16/ --data photos/ --out patches.safetensors --pool patch --layers -4,-1 --image-size 518");
  const { size } = await stat("patches.safetensors");
  expect(size - 3 * 2 * PATCHES * 384 * 4).toBeLessThan(1000);

  const model = await loadModel("facebook/dinov2-small");
  const { cls, patches, grid, attention } = await model.embed("photos/a.jpg", { attention: true });
  expect([patches.length, attention?.length]).toEqual([grid.rows * grid.columns * 384, 6 * grid.rows * grid.columns]);
  expect(cls).toEqual(features.slice(0, 384));
  await model[Symbol.asyncDispose]();
});

test("a trained run is exported and checked", async () => {
  const sets = ["model.depth=2", "model.width=32", "model.heads=2", "head.prototypes=64", "head.hidden=32", "head.bottleneck=16"];
  await run(
    `train --method dinov3 --model dinov3_vits16 --data photos --out runs/v3 --steps 2 --batch-size 2 --set crops.globalSizePx=64 --set crops.localSizePx=32 --set crops.localCount=1 ${sets.map((s) => `--set ${s}`).join(" ")}`,
  );
  expect(await run("export --model runs/v3 --format onnx --image-size 224 --out v3.onnx --check")).toMatch(/cosine/);
  expect((await stat("v3.onnx")).size).toBeGreaterThan(1000);
});
