import { describe, expect, test } from "vitest";
import { Builder } from "../engine/trace/index.ts";
import {
  type BackboneConfig,
  backboneFeatures,
  backboneState,
  backboneWidth,
  convnextPreset,
  type ParamSpec,
  scoped,
  traceParams,
} from "../nn/index.ts";
import type { StepConfig } from "./config.ts";
import { distillFeatures, type DistillFeaturesConfig } from "./index.ts";
import { SMALL_VIT } from "../nn/testing/small-vit.ts";
import { draw, paramsOf, rowsOf, run, type Values } from "./testing/float64.ts";
import type { Rows } from "./testing/plain-losses.ts";

const [B, LOCALS, GLOBAL_PX, LOCAL_PX] = [2, 3, 16, 8] as const;
const [CLS, PATCH, LOCAL] = [0.7, 1.3, 0.5] as const;
const teacher: StepConfig = {
  backbone: SMALL_VIT,
  crops: { globalSizePx: GLOBAL_PX, localSizePx: LOCAL_PX, localCount: LOCALS },
  dropPath: 0,
  batchSize: B,
  microBatchSize: B,
};
const config: DistillFeaturesConfig = {
  teacher,
  students: [
    { name: "narrow", backbone: { ...SMALL_VIT, width: 8, depth: 1, patchSizePx: 8 }, dropPath: 0 },
    { name: "wide", backbone: { ...SMALL_VIT, width: 24, heads: 3, depth: 1, patchSizePx: 2 }, dropPath: 0 },
  ],
  objective: { clsWeight: CLS, patchWeight: PATCH },
};
const method = distillFeatures(config);

const values: Values = new Map<string, ArrayLike<number>>([
  ["globals", draw("globals", [2 * B, 3, GLOBAL_PX, GLOBAL_PX])],
  ["locals", draw("locals", [LOCALS * B, 3, LOCAL_PX, LOCAL_PX])],
  ["localWeight", [LOCAL]],
  ...method.learners.flatMap(({ name, specs }) => paramsOf(`${name}.`, specs)),
  ...method.fixed.flatMap(({ name, specs }) => paramsOf(`${name}.`, specs)),
]);

/** The method's own step, its parts in order; gradients by `STUDENT.PARAMETER`. */
function ownStep(): ReadonlyMap<string, ArrayLike<number>> {
  const handed: Values = new Map(values);
  const found: Values = new Map();
  for (const part of method.parts)
    for (const [name, { data }] of run(part.trace({ running: false }), handed)) {
      handed.set(name, data);
      found.set(part.learner === undefined || name.startsWith("loss.") ? name : `${part.learner}.${name}`, data);
    }
  return found;
}

/** A network's own tokens of a group of crops. */
function tokens(
  network: string,
  backbone: BackboneConfig,
  {
    specs,
    given,
    images,
    crops,
    sizePx,
  }: {
    readonly specs: readonly ParamSpec[];
    readonly given: Values;
    readonly images: string;
    readonly crops: number;
    readonly sizePx: number;
  },
): { readonly cls: Rows; readonly patches: Rows } {
  const builder = new Builder();
  const params = scoped(traceParams(builder, specs, { prefix: `${network}.` }), "backbone.");
  const { cls, patches } = backboneFeatures(params, builder.input(images, [crops * B, 3, sizePx, sizePx]), {
    config: backbone,
    patches: true,
  });
  builder.output("cls", cls);
  if (patches !== undefined) builder.output("patches", patches);
  const cells = run(builder.graph(), given);
  return { cls: rowsOf(cells, "cls"), patches: rowsOf(cells, "patches") };
}

const cosine = (a: Float64Array, b: Float64Array): number =>
  a.reduce((sum, x, i) => sum + x * (b[i] ?? Number.NaN), 0) / Math.hypot(...a) / Math.hypot(...b);
const mean = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0) / xs.length;

/** Row -> `W row + b`. */
function project(row: Float64Array, given: Values, layer: string): Float64Array {
  const [w, bias] = [given.get(`${layer}.weight`) ?? [], given.get(`${layer}.bias`) ?? []];
  return Float64Array.from({ length: 16 }, (_, o) => row.reduce((sum, x, i) => sum + x * Number(w[o * row.length + i]), Number(bias[o])));
}

/** Bilinear value of a square map of rows at (y, x) of a grid of `to`; a shrinking map is averaged by triangles. */
function at(map: Rows, [y, x]: readonly [number, number], { from, to }: { readonly from: number; readonly to: number }): Float64Array {
  const weights = (i: number): number[] => {
    const reach = Math.max(1, from / to);
    const all = Array.from({ length: from }, (_, k) => Math.max(0, 1 - Math.abs(k + 0.5 - ((i + 0.5) * from) / to) / reach));
    return all.map((w) => w / all.reduce((a, b) => a + b, 0));
  };
  const [wy, wx] = [weights(y), weights(x)];
  const out = new Float64Array(map[0]?.length ?? 0);
  map.forEach((row, k) => row.forEach((v, c) => (out[c] = (out[c] ?? 0) + (wy[Math.floor(k / from)] ?? 0) * (wx[k % from] ?? 0) * v)));
  return out;
}

/** The terms of one student as the file's head writes them. */
function plainTerms(index: number, given: Values): Readonly<Record<"cls" | "locals" | "patches", number>> {
  const [student, learner] = [config.students[index], method.learners[index]];
  if (student === undefined || learner === undefined) throw new RangeError(`no student ${index}`);
  const { specs: taught = [] } = method.fixed[0] ?? {};
  const globals = { images: "globals", crops: 2, sizePx: GLOBAL_PX, given };
  const known = tokens("teacher", teacher.backbone, { ...globals, specs: taught });
  const own = tokens(student.name, student.backbone, { ...globals, specs: learner.specs });
  const local = tokens(student.name, student.backbone, { specs: learner.specs, given, images: "locals", crops: LOCALS, sizePx: LOCAL_PX });
  const cls = (row: Float64Array): Float64Array => project(row, given, `${student.name}.cls_projection`);
  const [from, to] = [GLOBAL_PX / Number("patchSizePx" in student.backbone && student.backbone.patchSizePx), 4];
  const patches = known.patches.map((target, i) => {
    const crop = Math.floor(i / to ** 2);
    const map = own.patches
      .slice(crop * from ** 2, (crop + 1) * from ** 2)
      .map((row) => project(row, given, `${student.name}.patch_projection`));
    return 1 - cosine(at(map, [Math.floor((i % to ** 2) / to), i % to], { from, to }), target);
  });
  return {
    cls: mean(own.cls.map((row, i) => 1 - cosine(cls(row), known.cls[i] ?? new Float64Array()))),
    locals: mean(local.cls.flatMap((row, i) => [0, 1].map((v) => 1 - cosine(cls(row), known.cls[v * B + (i % B)] ?? new Float64Array())))),
    patches: mean(patches),
  };
}

const plainLoss = (index: number, given: Values): number => {
  const { cls, locals, patches } = plainTerms(index, given);
  return CLS * (cls + LOCAL * locals) + PATCH * patches;
};

describe("one step of distillation by features in float64", () => {
  const own = ownStep();

  test("runs the teacher once, before the students, and gives it no gradient", () => {
    expect(method.parts.map(({ name, per }) => `${name}/${per}`)).toEqual(["teacher/micro", "narrow/micro", "wide/micro"]);
    expect(method.fixed.map(({ name, changes }) => [name, changes])).toEqual([["teacher", false]]);
    expect([...own.keys()].filter((name) => name.startsWith("teacher."))).toEqual([]);
  });

  test.each([0, 1])("every term and the loss of student %i are the formula's", (index) => {
    const { name = "" } = config.students[index] ?? {};
    const { learner } = method.parts[index + 1] ?? {};
    // constants of the interpolation are float32
    for (const [term, value] of Object.entries(plainTerms(index, values)))
      expect(own.get(`loss.${name}.${term}`)?.[0], term).toBeCloseTo(value, 7);
    expect(own.get(`${learner}.loss`)?.[0]).toBeCloseTo(plainLoss(index, values), 6);
  });

  const names = [
    "backbone.patch_embed.proj.weight",
    "backbone.cls_token",
    "backbone.blocks.0.attn.qkv.weight",
    "backbone.norm.weight",
    "cls_projection.weight",
    "cls_projection.bias",
    "patch_projection.weight",
    "patch_projection.bias",
  ];
  test.each(names.flatMap((name) => [0, 1].map((index) => [name, index] as const)))("gradient of %s of student %i", (name, index) => {
    const key = `${config.students[index]?.name}.${name}`;
    const start = Float64Array.from(values.get(key) ?? []);
    const middle = start.length >> 1;
    const moved = (by: number): number => plainLoss(index, new Map([...values, [key, start.map((x, i) => (i === middle ? x + by : x))]]));
    const slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
    expect(own.get(key)?.[middle]).toBeCloseTo(slope, 7);
    expect(Math.abs(slope)).toBeGreaterThan(1e-6); // a parameter that does nothing tests nothing
  });
});

describe("what distillation by features is made of", () => {
  const specsOf = (objective: DistillFeaturesConfig["objective"]): readonly string[] =>
    distillFeatures({ ...config, objective })
      .learners[0].specs.map(({ name }) => name)
      .filter((name) => !name.startsWith("backbone."));

  test("a term without weight has no projection and asks nothing of the teacher", () => {
    expect(specsOf({ clsWeight: 1, patchWeight: 1 })).toHaveLength(4);
    expect(specsOf({ clsWeight: 1, patchWeight: 0 })).toEqual(["cls_projection.weight", "cls_projection.bias"]);
    const { parts, cuts } = distillFeatures({ ...config, objective: { clsWeight: 1, patchWeight: 0 } });
    expect(parts[0]?.trace({ running: false }).outputs.map(({ name }) => name)).toEqual(["clsTargets"]);
    expect(cuts.has("patchTargets")).toBe(false);
  });

  test("a ConvNeXt learns from a ViT's grid, a ResNet keeps its running statistics beside a teacher's that stay", () => {
    const big = {
      ...teacher,
      backbone: { ...SMALL_VIT, imageSizePx: 64, patchSizePx: 16 },
      crops: { globalSizePx: 64, localSizePx: 32, localCount: 1 },
    };
    const resnet: BackboneConfig = { family: "resnet", block: "basic", depths: [1, 1, 1, 1], width: 8 };
    const { state, parts, learners } = distillFeatures({
      ...config,
      teacher: { ...big, backbone: resnet },
      students: [
        { name: "next", backbone: convnextPreset("convnext_tiny"), dropPath: 0 },
        { name: "res", backbone: resnet, dropPath: 0 },
      ],
    });
    const statistics = backboneState(resnet).length;
    expect(state.filter(({ name }) => name.startsWith("teacher."))).toHaveLength(statistics);
    expect(state.filter(({ name }) => name.startsWith("res."))).toHaveLength(statistics);
    const graphs = parts.map((part) => part.trace({ running: false }));
    const outputs = graphs.map((graph) => graph.outputs.map(({ name }) => name));
    expect(outputs[0]?.some((name) => name.includes("running"))).toBe(false);
    expect(outputs[2]?.filter((name) => name.startsWith("res.backbone.") && name.includes("running"))).toHaveLength(statistics);
    expect(learners[0].specs.find(({ name }) => name === "cls_projection.weight")?.shape).toEqual([backboneWidth(resnet), 768]);
  });
});
