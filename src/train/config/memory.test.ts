import { expect, test } from "vitest";
import { maskUpperBound } from "../../images/index.ts";
import {
  type StudentModel,
  type UserConfig,
  assertFitsMemory,
  backboneParameters,
  estimateCheckpointBytes,
  estimateMemory,
  estimateRunBytes,
  headParameters,
  resolveConfig,
} from "./index.ts";

const GB = 2 ** 30;
const facts = { images: 1_281_167, medianSidePx: 400, cores: 16, memoryBytes: 64 * GB };
const vits = resolveConfig({ model: { arch: "vit_small_patch16" }, train: { batchSize: 8 } }, facts).config;

test("backboneParameters() and headParameters() count what DINO publishes", () => {
  const count = (arch: string): number => backboneParameters(resolveConfig({ model: { arch } }, facts).config.model);
  expect([count("dino_vits16"), count("dino_vits8"), count("dino_vitb16"), count("vit_tiny_patch16")]).toEqual([
    21_665_664, 21_670_272, 85_798_656, 5_524_416,
  ]);
  expect(headParameters(vits.head, 384)).toBe(22_352_128);
  expect(estimateCheckpointBytes(vits)).toBe(16 * (21_665_664 + 22_352_128));
});

test("estimateMemory() meets the 1.1 GB measured for the global group of ViT-S/16 at batch 8", () => {
  expect(estimateMemory(vits).activationBytes / GB).toBeGreaterThan(0.9);
  expect(estimateMemory(vits).activationBytes / GB).toBeLessThan(1.3);
  expect(estimateMemory({ ...vits, train: { ...vits.train, checkpointing: true } }).activationBytes).toBeLessThan(
    estimateMemory(vits).activationBytes / 4,
  );
});

test("assertFitsMemory() refuses more local crops than memory and says what fits", () => {
  const many = resolveConfig({ model: { arch: "vit_small_patch16" }, crops: { localCount: 500 }, train: { batchSize: 8 } }, facts).config;
  expect(() => assertFitsMemory(vits, 8 * GB)).not.toThrow();
  expect(() => assertFitsMemory(many, 8 * GB)).toThrow(
    /8 images with 502 crops each need about \d+\.\d GB .* has 8\.0 GB; set .*crops\.localCount=\d+/,
  );
});

test("estimateMemory() counts what DINOv2 and DINOv3 add to DINO", () => {
  const model = { arch: "vit_small_patch16" };
  const at = (user: object): ReturnType<typeof estimateMemory> =>
    estimateMemory(
      resolveConfig({ model, train: { batchSize: 8 }, head: { prototypes: 4096, ibotPrototypes: 4096 }, ...user }, facts).config,
    );
  const [v1, v2, v3] = [at({ method: "dino" }), at({ method: "dinov2" }), at({ method: "dinov3" })];
  // targets, logits and their gradients of at most 8 crops with 19 to 98 of 196 patches masked
  expect(v2.headBytes).toBeGreaterThan(v1.headBytes + 300 * 3 * 4096 * 4);
  // a head of its own, with a plain last layer in both
  const head = { ...resolveConfig({ model, method: "dinov3" }, facts).config.head, prototypes: 4096 };
  const positions = 197 * 384;
  expect(v3.parameterBytes - v2.parameterBytes).toBe(24 * (headParameters(head, 384) - 4096 - positions + 4 * 384));
  const gram: UserConfig = { method: "dinov3", objective: { gramWeight: 1 }, gram: { teacher: "a", sizePx: 448 } };
  const anchored = at(gram);
  expect(anchored.parameterBytes - v3.parameterBytes).toBe(4 * backboneParameters(resolveConfig({ model, ...gram }, facts).config.model));
  expect(anchored.gramBytes).toBeGreaterThan(16 * 16 * 196 ** 2);
  expect(anchored.cropBytes - v3.cropBytes).toBe(3 * 12 * 8 * 2 * 448 ** 2);
  expect(at({ ...gram, gram: { useEma: true, sizePx: 0 } }).gramBytes).toBe(16 * 16 * 196 ** 2);
  expect(v3.gramBytes).toBe(0);
});

test("estimateMemory() counts the rows that a micro-batch's lists of masked patches are padded to", () => {
  const config = (accumulate: number) =>
    resolveConfig({ method: "dinov2", model: { arch: "dinov2_vits14" }, train: { batchSize: 8, accumulate } }, facts).config;
  const [one, two] = [config(1), { ...config(1), train: { ...config(1).train, accumulate: 2 } }];
  const rows = (accumulate: number): number => maskUpperBound({ slots: 16 * accumulate, patches: 256, taken: 16, ...one.mask });
  expect(rows(2)).toBeGreaterThan(1.9 * rows(1)); // all masked crops can be in one micro-batch
  const { prototypes, hidden, bottleneck, layers } = one.head;
  const rowBytes = 4 * (3 * prototypes + 4 * hidden * (layers - 1) + 2 * bottleneck);
  const teacher = (accumulate: number): number => 8 * accumulate * rows(accumulate) * prototypes;
  expect(estimateMemory(two).headBytes - estimateMemory(one).headBytes).toBe((rows(2) - rows(1)) * rowBytes + teacher(2) - teacher(1));
});

test("estimateMemory() goes by the largest of mixed sizes", () => {
  const { config } = resolveConfig({ method: "dinov3", model: { arch: "dinov3_vits16" }, train: { batchSize: 8 } }, facts);
  const size = { globalSizePx: 224, localSizePx: 96, gramSizePx: 0, ratio: 0.5 };
  const mixed = { ...config, crops: { ...config.crops, sizes: [size, { ...size, globalSizePx: 512 }] } };
  const large = { ...config, crops: { ...config.crops, globalSizePx: 512 } };
  expect(estimateMemory(mixed)).toEqual(estimateMemory(large));
});

test("estimateMemory() of a ConvNeXt and a ResNet grows with the square of the picture", () => {
  for (const arch of ["convnext_tiny", "resnet50"]) {
    const at = (globalSizePx: number): number =>
      estimateMemory(resolveConfig({ model: { arch }, crops: { globalSizePx, localCount: 0 }, train: { batchSize: 8 } }, facts).config)
        .activationBytes;
    expect(at(448) / at(224)).toBeCloseTo(4, 5);
    expect(at(224)).toBeGreaterThan(0.2 * GB);
  }
});

test("estimateCheckpointBytes() counts the iBOT head and the Gram teacher", () => {
  const { config } = resolveConfig(
    { method: "dinov3", model: { arch: "dinov3_vits16" }, objective: { gramWeight: 1 }, gram: { teacher: "a" } },
    facts,
  );
  const [dino, ibot] = [config.head.prototypes, config.head.ibotPrototypes].map((prototypes) =>
    headParameters({ ...config.head, prototypes }, 384),
  );
  expect(ibot).toBeGreaterThan(dino ?? NaN);
  expect(estimateCheckpointBytes(config)).toBe(4 * (4 * (21_601_152 + (dino ?? 0) + (ibot ?? 0)) + 21_601_152));
});

test("estimates of a distillation count the frozen teacher once and every student whole", () => {
  const model = (arch: string): StudentModel["model"] => resolveConfig({ model: { arch } }, facts).config.model;
  const giant = model("vit_base_patch16");
  const students = ["vit_tiny_patch16", "resnet18"].map((arch) => ({ name: arch, model: model(arch) }));
  const alone = resolveConfig({ model: { arch: "vit_base_patch16" }, train: { batchSize: 8 } }, facts).config;
  const by = (objective: "prototypes" | "features", count: number): Parameters<typeof estimateRunBytes>[0] & typeof alone => ({
    ...alone,
    distill: { teacher: "a", objective, students: students.slice(0, count) },
  });
  const projections = (width: number): number => 2 * (width + 1) * giant.width;
  const [tiny, resnet] = [backboneParameters(students[0]!.model), backboneParameters(students[1]!.model)]; // two of them
  const of = (config: typeof alone): ReturnType<typeof estimateMemory> => estimateMemory(config);
  expect(of(by("features", 2)).parameterBytes).toBe(
    4 * (6 * (tiny + projections(192) + resnet + projections(512)) + backboneParameters(giant)),
  );
  expect(of(by("prototypes", 1)).parameterBytes).toBe(
    4 * (6 * (tiny + headParameters(alone.head, 192)) + backboneParameters(giant) + headParameters(alone.head, giant.width)),
  );
  // forward passes of the teacher keep one block of twelve
  expect(of(by("features", 1)).teacherBytes).toBeLessThan(of(alone).activationBytes / 4);
  // students take turns over one arena: the largest counts
  const each = students.map((student) => of({ ...alone, model: student.model }).activationBytes);
  expect(of(by("features", 2)).activationBytes).toBe(Math.max(...each));
  expect(of(alone).teacherBytes).toBe(0);
  const checkpoint = 16 * (tiny + projections(192));
  expect(estimateCheckpointBytes(by("features", 1))).toBe(checkpoint);
  expect(estimateRunBytes(by("features", 1))).toBe(checkpoint * (alone.checkpoint.keepLast + 1) + 4 * backboneParameters(giant));
});
