import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { HostTensor } from "../core/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { Encoder, loadModel, openModel } from "../features/index.ts";
import { randomWeights, TINY, writeTinyModel } from "../features/testing/tiny-model.ts";
import { type ViTConfig, vitPreset } from "../nn/index.ts";
import { readBackbone, readSafetensors, writeSafetensors } from "../weights/index.ts";
import type { UserConfig } from "./config/index.ts";
import { distill } from "./distill.ts";
import { factsOfBeginning, resolveBeginning, settleBeginning } from "./loop/beginning.ts";
import { backboneOf } from "./loop/networks.ts";
import { readConfig } from "./loop/prepare.ts";
import { readMetrics } from "./run/index.ts";
import { listData } from "../data/index.ts";
import { shortRun, writeColours } from "./testing/convnet-run.ts";
import { checkpointFiles as files, tinyRun } from "./testing/tiny-run.ts";
import { train } from "./train.ts";

const V2: ViTConfig = { ...TINY, layerScale: 1, maskToken: true };
const V3: ViTConfig = {
  ...TINY,
  width: 16,
  layerScale: 1,
  layerNormEps: 1e-5,
  positions: "rope",
  registers: 4,
  registerName: "storage_tokens",
  keyBiasMask: true,
  maskToken: true,
};

/** Random weights that tell pictures apart: those of a fresh network hardly do. */
function loud(config: ViTConfig): Map<string, HostTensor> {
  const scaled = (name: string, data: Float32Array): Float32Array =>
    /(proj|qkv|fc\d)\.weight$/.test(name) ? data.map((x) => 12 * x) : data;
  return new Map([...randomWeights(config, 5)].map(([name, t]) => [name, { ...t, data: scaled(name, t.data as Float32Array) }])); // random weights are float32
}

let dir = "";
const at = (...parts: string[]): string => join(dir, ...parts);
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-features-"));
  await writeColours(dir);
  await writeTinyModel(at("v2"), { config: V2, weights: loud(V2) });
  await writeTinyModel(at("v3"), { config: V3, weights: loud(V3) });
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const base = (steps: number, more: UserConfig = {}): UserConfig => ({ ...shortRun(dir, steps), log: { imagesEverySteps: 0 }, ...more });
const crops = { globalSizePx: 16, localSizePx: 8, localCount: 2 } as const;

describe("a teacher of weights alone", () => {
  test("teaches two students by its features; a run that was stopped goes on bit for bit", async () => {
    const [whole, parted] = [at("whole"), at("parted")];
    const notes: string[] = [];
    const models = ["vit_pico_patch8", "vit_pico_patch4"];
    const options = { teacher: at("v2"), models, config: base(4, { crops }) };
    await distill({ ...options, out: whole, onNotice: (line) => void notes.push(line) });
    const stop = new AbortController();
    await distill({ ...options, out: parted, signal: stop.signal, onProgress: ({ done }) => (done >= 2 ? stop.abort() : undefined) });
    await train({ out: parted, resume: true });
    const names = ["student", "teacher", "optimizer", "student-vit_pico_patch4", "teacher-vit_pico_patch4", "method"];
    const [a, b] = [await files(whole, 4, names), await files(parted, 4, names)];
    names.forEach((name, i) => expect(a[i]?.equals(b[i] ?? Buffer.alloc(0)), name).toBe(true));

    expect(notes.join("\n")).toMatch(
      /Distillation by features: weights alone have no heads.*\nStudent vit_pico_patch8: features of 64, wider than its teacher's 12; a linear layer reduces them to 12.* from a grid of 2 to the teacher's 4 by bilinear/,
    );
    const { config, reasons } = await readConfig(whole);
    expect(config).toMatchObject({ method: "dinov2", distill: { objective: "features" }, model: { width: 12, layerScale: 1 } });
    expect(config.augment).toMatchObject({ mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] });
    expect(reasons["distill.objective"]).toMatch(/weights alone have no heads/);
    expect(reasons["model.width"]).toBe("as the teacher's weights have it");
    expect(reasons["augment.mean"]).toBe("as the teacher's pictures are normalised");

    const frozen = (await readSafetensors(join(whole, "frozen-teacher.safetensors"))).tensors;
    for (const [name, { data }] of (await readBackbone(at("v2"))).tensors) expect(frozen.get(`backbone.${name}`)?.data, name).toEqual(data);
    const lines = (await readMetrics(whole)).filter((line) => line["loss"] !== undefined);
    for (const line of lines)
      for (const term of ["cls", "locals", "patches"])
        for (const name of models) expect(line[`loss.${name}.${term}`], `${name}.${term}`).toBeGreaterThan(0);
    for (const line of lines) expect(line["kl"] ?? line["prototypeUsage"] ?? line["teacherEntropy"]).toBeUndefined();
    expect(Number(lines[0]?.["fullRank"])).toBe(8); // two crops of four pictures, of the student of width 64
    expect(await readFile(join(whole, "report.html"), "utf8")).toMatch(/distilled into 2 students[\s\S]*Distance to the teacher/);
  });

  test("exports students without their projections, which embed as networks of their own width", async () => {
    for (const name of ["vit_pico_patch8", "vit_pico_patch4"]) {
      const folder = at("whole", "exported", name, "last");
      const { tensors } = await readSafetensors(join(folder, "model.safetensors"));
      expect([...tensors.keys()].filter((key) => /(cls|patch)_projection/.test(key))).toEqual([]);
      await using model = await loadModel(folder, { threads: 1 });
      const { cls } = await model.embed(at("images", "red", "0.png"));
      expect(cls.length).toBe(64);
      expect(cls.every(Number.isFinite)).toBe(true);
    }
    const card = await readFile(at("whole", "exported", "last", "README.md"), "utf8");
    expect(card).toMatch(
      /by distillation of the features of a frozen vision transformer of width 12 .* as far as that of the teacher's weights allows/s,
    );
  });

  test("is met by a student better than by one answer for all pictures", async () => {
    const out = at("learned");
    const config = base(150, {
      crops: { ...crops, globalScaleRange: [0.8, 1] },
      optim: { lr: 3e-3 },
      augment: { jitterProb: 0, blurProb: [0, 0, 0] },
    });
    await distill({ teacher: at("v2"), models: ["vit_pico_patch4"], config, out });
    const lines = (await readMetrics(out)).filter((line) => line["loss"] !== undefined);
    const meanOf = (term: string, part: typeof lines): number => part.reduce((sum, line) => sum + Number(line[term]), 0) / part.length;
    for (const term of ["cls", "locals", "patches"].map((name) => `loss.vit_pico_patch4.${name}`)) {
      const [first, last] = [meanOf(term, lines.slice(0, 5)), meanOf(term, lines.slice(-10))];
      expect(last, term).toBeLessThan(0.5 * first);
    }
    expect(meanOf("loss.vit_pico_patch4.cls", lines.slice(-10))).toBeLessThan(0.5 * (await constantLoss()));
  });
});

/** 1 − cos of the teacher's class tokens to the best single vector, their mean: what a bias alone can reach. */
async function constantLoss(): Promise<number> {
  await using model = await loadModel(at("v2"), { threads: 1 });
  const units: Float32Array[] = [];
  for (let i = 0; i < 12; i++) {
    const { cls } = await model.embed(at("images", i % 2 === 0 ? "red" : "blue", `${i}.png`));
    units.push(cls.map((x) => x / Math.hypot(...cls)));
  }
  const mean = Float32Array.from({ length: 12 }, (_, c) => units.reduce((sum, row) => sum + (row[c] ?? NaN), 0) / units.length);
  return 1 - Math.hypot(...mean);
}

describe("students and teachers of every kind", () => {
  test("a ResNet learns beside a ViT at a size whose patches are whole for all, and teaches in its turn", async () => {
    const out = at("convnets");
    await distill({ teacher: at("v2"), models: ["resnet18", "vit_pico_patch10"], config: base(1), out });
    const { config, reasons } = await readConfig(out);
    expect([config.crops.globalSizePx, config.crops.localSizePx, config.optim.name]).toEqual([20, 20, "adamw"]);
    expect(config.distill.students.map(({ model }) => model.imageSizePx)).toEqual([20, 20]);
    expect(reasons["crops.globalSizePx"]).toMatch(
      /the size of the teacher's own pictures; patches of 4, 1, 10 px are all whole at multiples of 20/,
    );
    const kept = await readSafetensors(at("convnets", "checkpoints", "step-00000001", "method.safetensors"));
    const own = kept.tensors.get("resnet18.backbone.bn1.running_mean")?.data as Float32Array; // our checkpoints are float32
    expect(own.some((x) => x !== 0)).toBe(true);
    const { tensors } = await readBackbone(at("convnets", "exported", "resnet18", "last"));
    expect(tensors.get("bn1.running_mean")?.data).toEqual(own);

    // by the statistics that it was trained to
    const second = at("of-a-resnet");
    await distill({
      teacher: at("convnets", "exported", "resnet18", "last"),
      models: ["vit_pico_patch8"],
      config: base(2, { crops }),
      out: second,
    });
    const state = (await readSafetensors(join(second, "checkpoints", "step-00000002", "method.safetensors"))).tensors;
    expect(state.get("teacher.backbone.bn1.running_mean")?.data).toEqual(own);

    // a run begins with the first student: its network and statistics, without the projections
    const notes: string[] = [];
    const init = { from: out, headWarmupSteps: 0 };
    const begun: UserConfig = {
      ...base(1, { crops: { ...crops, globalSizePx: 32, localSizePx: 32 } }),
      init,
      head: { prototypes: 32, hidden: 32 },
    };
    await train({ config: begun, out: at("begun"), onNotice: (line) => void notes.push(line) });
    expect((await readConfig(at("begun"))).config.model.arch).toBe("resnet18");
    expect(notes.join("\n")).toMatch(/Began with 60 of 68 tensors of .*; new: 8 of dino_head; 40 running statistics/);
  });

  test("a file with our names, a run without heads and a run by its features teach, too", async () => {
    const file = at("own.safetensors");
    const small: ViTConfig = { ...vitPreset("dino_vitt16"), imageSizePx: 16 }; // a width and depth that tell the heads
    await writeSafetensors(file, new Map([...randomWeights(small, 3)].map(([name, tensor]) => [`backbone.${name}`, tensor])));
    const more = base(1, { crops });
    await distill({ teacher: file, models: ["vit_pico_patch8"], config: more, out: at("of-a-file") });
    expect((await readConfig(at("of-a-file"))).config.model).toMatchObject({ width: 192, depth: 12, heads: 3, patchSizePx: 16 });

    await train({ config: tinyRun(dir, "simclr", 1), out: at("control") });
    await distill({ teacher: at("control"), models: ["vit_pico_patch8"], config: more, out: at("of-simclr") });
    expect((await readConfig(at("of-simclr"))).reasons["distill.objective"]).toMatch(/^SimCLR has no prototypes/);

    await train({ config: tinyRun(dir, "dino", 1), out: at("dino") });
    await distill({ teacher: at("dino"), models: ["vit_pico_patch8"], config: more, out: at("of-dino") });
    expect((await readConfig(at("of-dino"))).config.distill.objective).toBe("prototypes");
    const asked = { ...more, distill: { objective: "features" } } as const;
    await distill({ teacher: at("dino"), models: ["vit_pico_patch8"], config: asked, out: at("of-dino-features") });
    expect((await readConfig(at("of-dino-features"))).config).toMatchObject({
      distill: { objective: "features" },
      objective: { ibotWeight: 0 },
    });

    await distill({ teacher: at("of-a-file"), models: ["vit_pico_patch8"], config: more, out: at("third") });
    expect((await readConfig(at("third"))).reasons["distill.objective"]).toMatch(/has projections in the place of heads/);
  });

  test.each(["v2", "v3"])("the network that a run makes of the teacher %s gives what the model gives", async (name) => {
    const beginning = await settleBeginning({ data: { path: at("images") }, distill: { teacher: at(name) } });
    const facts = await factsOfBeginning(await listData(at("images")), beginning);
    const pupil = { name: "a", model: resolveBeginning(await settleBeginning({ data: { path: at("images") } }), facts).config.model };
    const settled = resolveBeginning(
      { ...beginning, user: { ...beginning.user, distill: { teacher: at(name), students: [pupil] } } },
      facts,
    );
    using device = openCpu({ threads: 1 });
    const { encoder } = await openModel(at(name), device);
    using own = encoder;
    const { tensors } = await readBackbone(at(name));
    const params = new Map([...tensors].map(([key, { data }]) => [key, data as Float32Array])); // a backbone is read as float32
    using ours = new Encoder({ config: backboneOf(settled.config.model), device, params });
    const planes = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i));
    const tokens = async (e: Pick<Encoder, "encode">): Promise<Float32Array> =>
      (await e.encode(planes, { pool: "all", sizePx: 32 })).features.slice();
    expect(await tokens(ours)).toEqual(await tokens(own));
  });
});

describe("distillation by features refuses", () => {
  const of = (teacher: string, models: readonly string[], config: UserConfig = {}) =>
    distill({ teacher, models, config: { ...base(1, { crops }), ...config }, out: at("no") });
  const CASES: readonly (readonly [string, UserConfig, RegExp])[] = [
    [
      "prototypes of weights alone",
      { distill: { objective: "prototypes" } },
      /Cannot distill from ".*v2": weights alone have no heads; give the --out of a run with heads/,
    ],
    ["no weight at all", { objective: { clsWeight: 0, patchWeight: 0 } }, /are both 0; set one above 0/],
    [
      "local crops without class tokens",
      { objective: { clsWeight: 0 } },
      /crops\.localCount 2 with objective\.clsWeight 0.*set crops\.localCount=0/,
    ],
    ["KoLeo", { objective: { koleoWeight: 0.1 } }, /objective\.koleoWeight 0\.1: students are held to features alone/],
    ["iBOT", { objective: { ibotWeight: 1 } }, /objective\.ibotWeight 1: students are held to features alone/],
    ["SimCLR", { method: "simclr" }, /with method "simclr"/],
    ["weights to begin with", { init: { from: "x.safetensors" } }, /x\.safetensors/],
    [
      "crops off a student's grid",
      { crops: { ...crops, globalSizePx: 20, localSizePx: 8 } },
      /SizePx 20: it is not a multiple of the patch size 8/,
    ],
    [
      "local crops off a student's grid",
      { crops: { ...crops, localSizePx: 12 } },
      /localSizePx 12: it is not a multiple of the patch size 8 of "vit_pico_patch8"/,
    ],
    ["another network than the teacher's", { model: { width: 24 } }, /Cannot distill from .*of another shape/],
  ];
  test.each(CASES)("%s", async (_, config, message) => {
    await expect(of(at("v2"), ["vit_pico_patch8"], config)).rejects.toThrow(message);
  });

  test("patches that do not go together, a run of several students, and weights of features where there is no distillation", async () => {
    const small: UserConfig = { ...base(1) };
    await expect(
      distill({ teacher: at("v2"), models: ["vit_pico_patch7", "vit_pico_patch9", "vit_pico_patch11"], config: small, out: at("no") }),
    ).rejects.toThrow(/patches of 4, 7, 9, 11 px are all whole at multiples of 2,772 px only; leave the student out/);
    await expect(of(at("whole"), ["vit_pico_patch8"])).rejects.toThrow(
      /it trained several students; give the folder of one, such as ".*vit_pico_patch8\/last"/,
    );
    await expect(train({ config: tinyRun(dir, "dino", 1, { objective: { patchWeight: 0.5 } }), out: at("no-2") })).rejects.toThrow(
      /objective\.patchWeight 0\.5: it is of distillation by features/,
    );
    await expect(train({ config: tinyRun(dir, "dino", 1, { distill: { objective: "features" } }), out: at("no-2") })).rejects.toThrow(
      /there are no students or no teacher/,
    );
  });
});
