import { describe, expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { Builder, reshape, type Tensor } from "../engine/trace/index.ts";
import { applyDinoHead, type BackboneConfig, backboneFeatures, backboneWidth, scoped, traceParams } from "../nn/index.ts";
import { dinov2, type Dinov2Config, dinov3, type Dinov3Config, type Method } from "./index.ts";
import { SMALL_VIT } from "../nn/testing/small-vit.ts";
import { draw, paramsOf, rowsOf, run, type Values } from "./testing/float64.ts";
import { plainDino, plainGram, plainIbot, plainKoleo, plainSinkhorn, type Rows } from "./testing/plain-losses.ts";

const [B, LOCALS, GLOBAL_PX, LOCAL_PX, SIDE] = [4, 3, 16, 8, 4] as const;
const PATCHES = SIDE ** 2;
const [TEMP, TEACHER_TEMP, RATE] = [0.1, 0.07, 0.4] as const;
const WEIGHTS = { koleo: 0.1, ibot: 0.7, localWeight: 0.5, gramWeight: 2 } as const;
const head = { width: 16, hidden: 12, bottleneck: 8, prototypes: 10, layers: 3, batchNorm: false, normLastLayer: false } as const;
const v2: Dinov2Config = {
  backbone: { ...SMALL_VIT, maskToken: true, layerScale: 0.3 },
  head,
  ibotHead: { ...head, prototypes: 7 },
  mask: { probability: 0.5, ratioMin: 0.2, ratioMax: 0.6, fill: "under", shift: false },
  crops: { globalSizePx: GLOBAL_PX, localSizePx: LOCAL_PX, localCount: LOCALS },
  objective: {
    centering: "sinkhorn",
    centerMomentum: 0.9,
    sinkhornIterations: 3,
    koleoWeight: WEIGHTS.koleo,
    koleoGroup: 2,
    ibotWeight: WEIGHTS.ibot,
    studentTemp: TEMP,
  },
  dropPath: RATE,
  dropPathUniform: true,
  dropPathKind: "subset",
  batchSize: B,
  microBatchSize: B,
};
const v3: Dinov3Config = {
  ...v2,
  backbone: {
    ...v2.backbone,
    positions: "rope",
    rope: { rescale: 2 },
    registers: 2,
    registerName: "storage_tokens",
    keyBiasMask: true,
    localClsNorm: true,
  },
  head: { ...head, lastLayer: "plain" },
  ibotHead: { ...head, prototypes: 7, lastLayer: "plain" },
  mask: { ...v2.mask, fill: "exact", shift: true },
  objective: { ...v2.objective, localWeight: "localWeight" },
  gram: { sizePx: 16, useEma: false, normalize: true, level: "image", tokens: "all" },
};

/** Everything a step takes in. */
function valuesOf(method: Method): Values {
  const values: Values = new Map<string, ArrayLike<number>>([
    ["globals", draw("globals", [2 * B, 3, GLOBAL_PX, GLOBAL_PX])],
    ["locals", draw("locals", [LOCALS * B, 3, LOCAL_PX, LOCAL_PX])],
    ["gramCrops", draw("gramCrops", [2 * B, 3, GLOBAL_PX, GLOBAL_PX])],
    ["teacherTemp", [TEACHER_TEMP]],
    ["localWeight", [WEIGHTS.localWeight]],
    ["gramWeight", [WEIGHTS.gramWeight]],
    ...[...method.draw({ rng: new Rng(9), step: 3 })].map(([name, drawn]) => [name, Float64Array.from(drawn, Number)] as const),
  ]);
  const prefixes = method.learners.flatMap(({ name, follower, specs }) => [
    { name, specs },
    { name: follower, specs },
  ]);
  for (const { name, specs } of [...prefixes, ...method.fixed])
    for (const [key, data] of paramsOf(`${name}.`, specs)) values.set(key, data);
  return values;
}

/** The method's own step: its parts in order, what one gives out handed to the next. */
function ownStep(method: Method, given: Values): ReadonlyMap<string, ArrayLike<number>> {
  const values: Values = new Map(given);
  for (const part of method.parts) for (const [name, { data }] of run(part.trace({ running: false }), values)) values.set(name, data);
  return values;
}

interface Seen {
  readonly cls: Rows;
  readonly patches: Rows;
  readonly logits: Rows;
  readonly patchLogits: Rows;
}

interface PassOptions {
  readonly network: string;
  readonly images: string;
  readonly crops: number;
  readonly sizePx: number;
  /** The student sees masks, drops branches and has its rotations augmented; heads are left out of a Gram teacher. */
  readonly as: "student" | "teacher" | "gram";
}

/** One network on one group of crops: every class token and every patch through its head. */
function pass(config: Dinov2Config, method: Method, values: Values, { network, images, crops, sizePx, as }: PassOptions): Seen {
  const builder = new Builder();
  const specs = as === "gram" ? (method.fixed[0]?.specs ?? []) : method.learners[0].specs;
  const params = traceParams(builder, specs, { prefix: `${network}.` });
  const backbone: BackboneConfig = config.backbone;
  const side = sizePx / 4;
  const kept = Math.floor(crops * B * (1 - RATE) + 1e-9);
  const input = (name: string, shape: readonly number[], dtype: "f32" | "i32" = "f32"): Tensor => builder.input(name, shape, { dtype });
  const hasRope = values.has(`rope.${images}.0.sin`);
  const view =
    as === "student"
      ? {
          isLocal: images === "locals",
          dropPath: (block: number, branch: string) => ({
            rows: input(`drop.${images}.${block}.${branch}`, [kept], "i32"),
            scale: (crops * B) / kept,
          }),
          ...(hasRope
            ? {
                rope: (block: number) => ({
                  sin: input(`rope.${images}.${block}.sin`, [side ** 2, 8]),
                  cos: input(`rope.${images}.${block}.cos`, [side ** 2, 8]),
                }),
              }
            : {}),
          ...(images === "globals" ? { mask: input("mask", [crops * B, PATCHES]) } : {}),
        }
      : {};
  const { cls, patches } = backboneFeatures(scoped(params, "backbone."), input(images, [crops * B, 3, sizePx, sizePx]), {
    config: backbone,
    patches: true,
    ...view,
  });
  builder.output("cls", cls);
  if (patches !== undefined) builder.output("patches", patches);
  if (as !== "gram") {
    builder.output("logits", applyDinoHead(scoped(params, "dino_head."), cls, { config: config.head }));
    if (patches !== undefined && config.ibotHead !== "shared") {
      const flat = reshape(patches, [crops * B * side ** 2, backboneWidth(backbone)]);
      builder.output("patchLogits", applyDinoHead(scoped(params, "ibot_head."), flat, { config: config.ibotHead }));
    }
  }
  const cells = run(builder.graph(), values);
  return {
    cls: rowsOf(cells, "cls"),
    patches: rowsOf(cells, "patches"),
    logits: rowsOf(cells, "logits"),
    patchLogits: rowsOf(cells, "patchLogits"),
  };
}

/** What a step is held to; no gradient goes through it. */
interface Held {
  readonly targets: Rows;
  readonly patchTargets: ReadonlyMap<number, Float64Array>;
  readonly gram: Rows;
}

function heldOf(config: Dinov3Config, method: Method, values: Values): Held {
  const teacher = pass(config, method, values, { network: "teacher", images: "globals", crops: 2, sizePx: GLOBAL_PX, as: "teacher" });
  const masked = Array.from(values.get("mask") ?? [])
    .map((on, place) => (on === 1 ? place : -1))
    .filter((place) => place >= 0);
  const balanced = plainSinkhorn(
    masked.map((place) => teacher.patchLogits[place] ?? new Float64Array()),
    TEACHER_TEMP,
  );
  const gram =
    config.gram === undefined
      ? []
      : pass(config, method, values, { network: "gram", images: "gramCrops", crops: 2, sizePx: GLOBAL_PX, as: "gram" }).patches;
  return {
    targets: plainSinkhorn(teacher.logits, TEACHER_TEMP),
    patchTargets: new Map(masked.map((place, i) => [place, balanced[i] ?? new Float64Array()])),
    gram,
  };
}

/** The loss by the papers' formulas; pairs: 2 · (2 + locals − 1). */
function plainLoss(config: Dinov3Config, method: Method, values: Values, held: Held): Readonly<Record<string, number>> {
  const globals = pass(config, method, values, { network: "student", images: "globals", crops: 2, sizePx: GLOBAL_PX, as: "student" });
  const locals = pass(config, method, values, { network: "student", images: "locals", crops: LOCALS, sizePx: LOCAL_PX, as: "student" });
  const pairs = 2 * (2 + LOCALS - 1);
  const common = { teacher: held.targets, images: B, temp: TEMP };
  const terms = {
    globals: plainDino({ ...common, student: globals.logits }, true) / pairs,
    locals: plainDino({ ...common, student: locals.logits }, false) / pairs,
    ibot: plainIbot(values.get("mask") ?? [], {
      student: globals.patchLogits,
      teacher: held.patchTargets,
      patches: PATCHES,
      temp: TEMP,
    }),
    koleo: plainKoleo(globals.cls.slice(0, B), 2) + plainKoleo(globals.cls.slice(B), 2),
    ...(config.gram === undefined ? {} : { gram: plainGram(globals.patches, held.gram, PATCHES) }),
  };
  const localWeight = config.objective.localWeight === undefined ? 1 : WEIGHTS.localWeight;
  const loss =
    terms.globals +
    localWeight * terms.locals +
    WEIGHTS.ibot * terms.ibot +
    WEIGHTS.koleo * terms.koleo +
    WEIGHTS.gramWeight * (terms.gram ?? 0);
  return { ...terms, loss };
}

const METHODS: readonly (readonly [string, Dinov3Config, (config: Dinov3Config) => Method])[] = [
  ["DINOv2", v2, dinov2],
  ["DINOv3 with Gram anchoring", v3, dinov3],
];

describe.each(METHODS)("one step of %s is the papers' in float64", (_, config, make) => {
  const method = make(config);
  const values = valuesOf(method);
  const own = ownStep(method, values);
  const held = heldOf(config, method, values);

  test("every part of the loss, and the loss", () => {
    const { loss, ...terms } = plainLoss(config, method, values, held);
    // the weights of masked patches are float32
    for (const [name, value] of Object.entries(terms))
      expect(own.get(`loss.${name}`)?.[0], name).toBeCloseTo(value, name === "ibot" ? 6 : 10);
    expect(own.get("loss")?.[0]).toBeCloseTo(loss ?? Number.NaN, 6);
  });

  test("its gradients, by central differences of the papers' loss", () => {
    const names = [
      "backbone.patch_embed.proj.weight",
      "backbone.mask_token",
      "backbone.cls_token",
      "backbone.blocks.0.attn.qkv.weight",
      "backbone.blocks.1.mlp.fc2.weight",
      "backbone.norm.weight",
      "dino_head.mlp.0.weight",
      "ibot_head.mlp.2.weight",
    ];
    for (const name of names) {
      const start = Float64Array.from(values.get(`student.${name}`) ?? []);
      const at = start.length >> 1;
      const step = 1e-5;
      const moved = (by: number): number => {
        const data = Float64Array.from(start, (x, i) => (i === at ? x + by : x));
        return plainLoss(config, method, new Map([...values, [`student.${name}`, data]]), held)["loss"] ?? Number.NaN;
      };
      const slope = (moved(step) - moved(-step)) / (2 * step);
      expect(own.get(name)?.[at], name).toBeCloseTo(slope, 7);
      expect(Math.abs(slope), name).toBeGreaterThan(1e-6); // a parameter that does nothing tests nothing
    }
  });
});
