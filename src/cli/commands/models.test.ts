import { mkdtemp, readdir, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeSafetensors } from "../../weights/index.ts";
import { change, HubServer, serve } from "../../weights/hub/testing/hub-server.ts";
import { type CliRun, runCli } from "../testing/run-cli.ts";
import type { ListedModel } from "./models.ts";
import { formatAge, formatBytes, formatCount } from "./models-format.ts";
import { nameBareWord } from "./models-id.ts";
import type { ModelInfo } from "./models-info.ts";

const ID = "facebook/dinov2-small";
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const FILES = {
  "config.json": bytes("{}"),
  "model.safetensors": encodeSafetensors(new Map([["w", { dtype: "f32", shape: [50_000], data: new Float32Array(50_000) }]])),
};
const NAMES = ["TRICERA_CACHE", "HF_ENDPOINT", "HF_TOKEN"] as const;

let dir = "";
let hub: HubServer;
const before = NAMES.map((name) => [name, process.env[name]] as const);
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-models-"));
  hub = await HubServer.start();
  process.env["TRICERA_CACHE"] = dir;
  process.env["HF_ENDPOINT"] = hub.url;
  process.env["HF_TOKEN"] = "hf_test";
});
afterEach(async () => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  await hub.close();
  await rm(dir, { recursive: true, force: true });
});

const run = (line: string): Promise<CliRun> => runCli(line.split(" "));

async function json<T>(line: string): Promise<T> {
  const { code, out } = await run(`${line} --json`);
  expect(code, out).toBe(0);
  return JSON.parse(out) as T; // what the command's own type says
}

const asked = (): number => hub.asked.length;

describe("models list", () => {
  test("shows every network with its weights, and which are in the cache; asks nothing", async () => {
    serve(hub, { id: ID, files: FILES });
    const find = async (): Promise<ListedModel> =>
      (await json<ListedModel[]>("models list")).find(({ id }) => id === "dinov2_vits14") ?? expect.fail();
    expect(await find()).toMatchObject({
      parameters: 22_056_576,
      patchSizePx: 14,
      width: 384,
      depth: 12,
      heads: 6,
      licence: "Apache License 2.0",
      aliases: expect.arrayContaining([ID, "vit_small_patch14_dinov2"]),
      weights: expect.arrayContaining([
        { id: ID, url: `${hub.url}/${ID}`, cached: null },
        { id: "dinov2_vits14", url: "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth", cached: null },
      ]),
    });
    expect(asked()).toBe(0);
    await run(`models pull ${ID}`);
    expect((await find()).weights[0]?.cached).toBe(join(dir, "models", "facebook--dinov2-small"));
    const { out } = await run("models list");
    expect(out).toMatch(/^dinov2_vits14 +22\.1 M +14 +Apache License 2\.0 +facebook\/dinov2-small \(cached\), dinov2_vits14$/m);
    expect(out).toMatch(/^vit_nano_patch4 .*none: to train from scratch$/m);
  });
});

describe("models info", () => {
  test("gives exact parameters, cost by size, licence and weights", async () => {
    const info = await json<ModelInfo>("models info facebook/dinov3-vits16plus-pretrain-lvd1689m --image-size 512 --image-size 256");
    expect(info).toMatchObject({ id: "dinov3_vitsplus16", parameters: 28_697_472, weightBytes: 4 * 28_697_472, licence: { id: "dinov3" } });
    expect(info.cost.map(({ imageSizePx, flop }) => [imageSizePx, Math.floor(flop / 1e9)])).toEqual([
      [256, 16],
      [512, 78],
    ]);
    const { out } = await run("models info --image-size 224 dino_vits16");
    expect(out).toMatch(
      /21,665,664 parameters \(21\.7 M\), 86\.7 MB in f32; patches of 16 px[^]*224 px +197 +9\.2 [^]*Apache License 2\.0/,
    );
    expect(out).toMatch(/dino_vits16 +about 86\.7 MB +https:\/\/dl\.fbaipublicfiles\.com\/dino\/dino_deitsmall16/);
    expect(asked()).toBe(0);
  });

  test("shows the real size of what is in the cache", async () => {
    serve(hub, { id: ID, files: FILES });
    await run(`models pull ${ID}`);
    const { weights } = await json<ModelInfo>(`models info ${ID}`);
    const found = weights.find(({ id }) => id === ID);
    expect(found?.cached).toBe(join(dir, "models", "facebook--dinov2-small"));
    expect(found?.downloadBytes).toBeLessThan(300_000);
  });

  test.each([
    ["models info dinov2_vitx14", 2, /did you mean "dinov2_vit[sblg]14"\?/],
    ["models info", 2, /without --id/],
    ["models info dinov2_vits14 --image-size 225", 2, /give 224 or 238/],
    ["models info dinov2_vits14 other", 2, /Cannot use argument "other"/],
    ["models info dino_resnet18", 2, /did you mean "dino_resnet50"\?/],
  ])("%s is refused", async (line, code, message) => {
    expect(await run(line)).toMatchObject({ code, err: expect.stringMatching(message) });
  });
});

describe("models pull", () => {
  test("shows the licence, then progress, and says what is where; offline ever after", async () => {
    serve(hub, { id: ID, files: FILES });
    const { code, out, err } = await run(`models pull ${ID}`);
    expect(code).toBe(0);
    expect(err).toMatch(/^Licence of the weights: Apache License 2\.0.*\n[^]*pulling model\.safetensors  0\.2\/0\.2 MB/);
    expect(out).toMatch(
      /^facebook\/dinov2-small at c{12}: pulled 200 kB\n[^]*model\.safetensors +200 kB +checked by sha256\n.*facebook--dinov2-small\n$/,
    );
    expect(hub.asked[0]?.headers.authorization).toBe("Bearer hf_test");
    await hub.close();
    expect(await json(`models pull --id ${ID}`)).toMatchObject({ id: ID, fetchedBytes: 0 });
    expect((await run(`models pull ${ID}`)).out).toContain("was in the cache");
  });

  test("a gated repository and an agreement say what to do", async () => {
    const id = "facebook/dinov3-vits16-pretrain-lvd1689m";
    serve(hub, { id, files: FILES });
    expect(await run(`models pull ${id}`)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/Hint: read https:\S+ and add --yes if you accept it/),
    });
    expect((await run(`models pull --yes ${id}`)).code).toBe(0);
    change(hub, "config.json", { instead: (response) => (response.writeHead(403, { "x-error-code": "GatedRepo" }).end(), true) });
    const { code, err } = await run(`models pull ${id} --overwrite`);
    expect(code).toBe(1);
    expect(err).toMatch(/Hint: open http:\S+dinov3-vits16-pretrain-lvd1689m with the account of HF_TOKEN, accept the licence/);
    expect(err).not.toContain("hf_test");
  });

  test("an unknown repository is a failure, bad use is bad use", async () => {
    expect(await run("models pull no/such")).toMatchObject({
      code: 1,
      err: expect.stringContaining('it has no config.json at revision "main"'),
    });
    expect(await run("models pull")).toMatchObject({ code: 2, err: expect.stringContaining("without --id") });
    expect(await run("models pull a/b c/d")).toMatchObject({ code: 2, err: expect.stringContaining('"c/d"') });
    process.env["HF_ENDPOINT"] = "mirror";
    expect(await run(`models pull ${ID}`)).toMatchObject({ code: 2, err: expect.stringContaining('HF_ENDPOINT "mirror"') });
  });
});

describe("models cache", () => {
  const fill = async (): Promise<void> => {
    for (const id of [ID, "own/vit"]) serve(hub, { id, files: FILES });
    await run(`models pull ${ID}`);
    await run("models pull own/vit");
    const old = new Date(Date.now() - 100 * 86_400_000);
    await utimes(join(dir, "models", "own--vit", "tricera-model.json"), old, old);
  };
  const left = (): Promise<string[]> => readdir(join(dir, "models"));

  test("shows what is there, its size and age", async () => {
    expect((await run("models cache")).out).toBe(`${dir}: empty\n`);
    await fill();
    const { out } = await run("models cache");
    expect(out).toMatch(/: 40\d kB\nfacebook\/dinov2-small  20\d kB  just now\nown\/vit +20\d kB  100 days ago\n$/);
    expect(await json("models cache")).toMatchObject({ cacheDir: dir, models: [{ id: ID, state: "whole" }, { id: "own/vit" }] });
  });

  test("prune lists what would go, and removes it with --yes", async () => {
    await fill();
    const { code, out } = await run("models cache prune");
    expect(code).toBe(0);
    expect(out).toMatch(/^Would remove:\nfacebook\/dinov2-small [^]*own\/vit [^]* in all\. Add --yes to remove them\.\n$/);
    expect((await left()).length).toBe(2);
    expect((await run("models cache prune --older-than 90 --yes")).out).toMatch(
      /^Removed:\nown\/vit +20\d kB  100 days ago\n20\d kB in all\.\n$/,
    );
    expect(await left()).toEqual(["facebook--dinov2-small"]);
    expect((await run("models cache prune --unfinished --yes")).out).toBe("Nothing to remove.\n");
    expect(await json(`models cache prune --id ${ID} --yes`)).toMatchObject({ removed: [{ id: ID }] });
    expect(await left()).toEqual([]);
  });

  test("refuses ids that are not there, and rules of a prune without one", async () => {
    expect(await run("models cache prune --id a/b --yes")).toMatchObject({ code: 2, err: expect.stringContaining('Cannot prune "a/b"') });
    expect(await run("models cache --yes")).toMatchObject({ code: 2, err: expect.stringContaining("--yes here") });
    expect(await run("models cache prun")).toMatchObject({ code: 2, err: expect.stringContaining('did you mean "prune"?') });
  });
});

test("nameBareWord() finds the word anywhere, and never takes an option's value for it", () => {
  const options = { id: { kind: "value" }, yes: { kind: "flag" }, revision: { kind: "value" } } as never; // kinds alone are read
  const read = (line: string): string => nameBareWord(line.split(" "), { name: "id", options }).join(" ");
  expect(read("a/b --yes")).toBe("--id=a/b --yes");
  expect(read("--yes a/b")).toBe("--yes --id=a/b");
  expect(read("--revision v1 a/b")).toBe("--revision v1 --id=a/b");
  expect(read("--revision=v1 a/b c")).toBe("--revision=v1 --id=a/b c");
  expect(read("--id a/b")).toBe("--id a/b");
});

test("sizes, counts and ages are short", () => {
  expect([0, 999, 1000, 99_949, 99_951, 999_600, 86_662_656, 26_864_173_056].map(formatBytes)).toEqual([
    "0 B",
    "999 B",
    "1.0 kB",
    "99.9 kB",
    "100 kB",
    "1.0 MB",
    "86.7 MB",
    "26.9 GB",
  ]);
  expect([21_665_664, 6_716_043_264].map(formatCount)).toEqual(["21.7 M", "6.72 B"]);
  expect([0, 60_000, 7_300_000, 86_400_000 * 3].map(formatAge)).toEqual(["just now", "1 minute ago", "2 hours ago", "3 days ago"]);
});
