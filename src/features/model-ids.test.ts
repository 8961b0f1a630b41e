import { cp, mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openCpu } from "../engine/runtime/index.ts";
import { vitPreset } from "../nn/index.ts";
import { writeSafetensors } from "../weights/index.ts";
import { asViT } from "../weights/testing/as-vit.ts";
import { openModel } from "./model.ts";
import { randomWeights, writeTinyModel } from "./testing/tiny-model.ts";

const HUB = "facebook/dinov2-small";
const before = ["TRICERA_CACHE", "HF_ENDPOINT"].map((name) => [name, process.env[name]] as const);
let root = "";

/** Marks a folder of the cache as one that `models pull` finished. */
async function sign(id: string, name: string, files: Readonly<Record<string, number>>): Promise<void> {
  const list = Object.entries(files).map(([file, sizeBytes]) => ({ name: file, sizeBytes, sha256: "", checkedBy: "size" }));
  const manifest = { formatVersion: 1, id, source: "test", files: list };
  await writeFile(join(root, "models", name, "tricera-model.json"), JSON.stringify(manifest));
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "tricera ids "));
  process.env["TRICERA_CACHE"] = root;
  process.env["HF_ENDPOINT"] = "http://127.0.0.1:1"; // nobody answers: opening must not ask
  const dir = join(root, "models", "facebook--dinov2-small");
  await writeTinyModel(dir);
  await cp(dir, join(root, "models", "own--vit"), { recursive: true });
  const { size } = await stat(join(dir, "model.safetensors"));
  await sign(HUB, "facebook--dinov2-small", { "model.safetensors": size });
  await sign("own/vit", "own--vit", { "model.safetensors": size + 1 });
});
afterAll(async () => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  await rm(root, { recursive: true });
});

/** Where the weights of a name come from, and their width. */
async function opened(name: string): Promise<{ readonly dir: string; readonly width: number }> {
  using device = openCpu({ threads: 1 });
  const { encoder, dir } = await openModel(name, device);
  using closing = encoder;
  return { dir, width: asViT(closing.config).width };
}

test("openModel() takes a Hugging Face id that is in the cache", async () => {
  expect(await opened(HUB)).toEqual({ dir: join(root, "models", "facebook--dinov2-small"), width: 12 });
});

test("openModel() takes the id or an alias of one of Meta's files that is in the cache", async () => {
  const config = vitPreset("dino_vits16");
  const shallow = { ...config, width: 48, depth: 1 }; // a file of any ViT; heads are told by the shapes of the family only
  const dir = join(root, "models", "dino_vits16");
  await mkdir(dir);
  const file = join(dir, "weights.safetensors");
  await writeSafetensors(file, randomWeights(shallow, 1));
  const { size } = await stat(file);
  await sign("dino_vits16", "dino_vits16", { "weights.safetensors": size });
  using device = openCpu({ threads: 1 });
  for (const name of ["dino_vits16", "vit_small_patch16"]) {
    const { encoder, dir: from, preprocessing } = await openModel(name, device, { arch: shallow });
    using closing = encoder;
    expect([from, asViT(closing.config).width, preprocessing.resize]).toEqual([dir, 48, "short-side"]);
  }
});

test.each([
  ["facebook/dinov2-base", /it is not in the cache \(".*"\); run `tricera models pull facebook\/dinov2-base`$/],
  ["dinov2_vits14", /run `tricera models pull dinov2_vits14`, or use "facebook\/dinov2-small", which is there$/],
  ["someone/else", /check the path, or run `tricera models pull someone\/else` if that is a Hugging Face id$/],
  ["own/vit", /it is not in the cache/], // a pull that was cut
  ["vit_tiny_patch16", /that is an architecture without weights; train it, or give/],
  ["dinov2_vits15", /it does not exist/],
])("openModel() of %s, which is absent, says what to do and asks no network", async (name, message) => {
  await expect(opened(name)).rejects.toThrow(message);
});
