/**
 * @file One recipe, two implementations: CIFAR-10 by Tricera and by a PyTorch script, seed by seed in turn; k-NN top-1 and seconds of training.
 *
 *   node recipes/same-science.ts --data DIR --peer cifar_quality.py [--python python3] [--seeds 0,1,2] [--epochs 3]
 *
 * The script prints one JSON line an epoch with `train_s` and `knn`; it takes its settings as `--set key=value`.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type UserConfig, train } from "../src/train/index.ts";
import { writeFileAtomic } from "../src/weights/index.ts";
import { knnCurve, type Point, writeCurves } from "./lib/curves.ts";
import { writeManifest } from "./lib/labelled.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    peer: { type: "string" },
    python: { type: "string", default: "python3" },
    seeds: { type: "string", default: "0,1,2" },
    epochs: { type: "string", default: "3" },
    out: { type: "string", default: "runs/same-science" },
  },
});
const { data, peer, python, out } = values;
if (data === undefined || peer === undefined)
  throw new Error("Cannot compare: --data or --peer is missing; give the folder with train/ and test/ and the PyTorch script");
const epochs = Number(values.epochs);

/** What both sides are told. */
const SHARED = {
  images: 10_000,
  batch: 64,
  width: 96,
  depth: 3,
  heads: 3,
  prototypes: 512,
  localCount: 2,
  lr: 1e-3,
  finalLr: 1e-5,
} as const;

const peerSettings = (seed: number): string[] =>
  Object.entries({
    seed,
    dim: SHARED.width,
    depth: SHARED.depth,
    heads: SHARED.heads,
    head_outputs: SHARED.prototypes,
    n_local: SHARED.localCount,
    lr: SHARED.lr,
    final_lr: SHARED.finalLr,
    batch: SHARED.batch,
    epochs,
    precision: "fp32",
  }).map(([key, value]) => `${key}=${value}`);

const lists = {
  all: await writeManifest(".cache/same-science/all.csv", { folders: [join(data, "train")], perClass: SHARED.images / 10 }),
  test: await writeManifest(".cache/same-science/test.csv", { folders: [join(data, "test")], perClass: 200 }),
};

/** The script's recipe in our words; every value it sets is set here. */
const ourConfig = (seed: number): UserConfig => ({
  seed,
  data: { path: lists.all, workers: 2, decode: "python", alpha: "drop" },
  model: {
    arch: "vit",
    width: SHARED.width,
    depth: SHARED.depth,
    heads: SHARED.heads,
    patchSizePx: 4,
    imageSizePx: 32,
    dropPath: 0,
    posInterpolation: "size-antialias",
    posEmbedInit: "sincos",
  },
  crops: {
    globalSizePx: 32,
    localSizePx: 16,
    localCount: SHARED.localCount,
    globalScaleRange: [0.4, 1],
    localScaleRange: [0.1, 0.4],
    interpolation: "bilinear",
  },
  augment: { blurProb: [0, 0, 0], solarizeProb: [0, 0.2, 0] },
  head: { prototypes: SHARED.prototypes, hidden: 512, bottleneck: 128, layers: 3, batchNorm: false, normLastLayer: true },
  objective: { centering: "ema", centerMomentum: 0.9, koleoWeight: 0, studentTemp: 0.1, teacherTemp: 0.04, warmupTeacherTemp: 0.04 },
  optim: {
    name: "adamw",
    lr: SHARED.lr,
    betas: [0.9, 0.99],
    weightDecay: 0.04,
    weightDecayEnd: 0.04,
    clipKind: "global",
    clipNorm: 3,
    freezeLastLayerEpochs: 0,
  },
  schedule: { lrWarmupEpochs: 0.5, minLr: SHARED.finalLr, momentumTeacher: 0.99, momentumTeacherEnd: 1 },
  train: { batchSize: SHARED.batch, epochs, threads: 2 },
  knn: { train: lists.all, test: lists.test, everyEpochs: 1, k: 20, temperature: 0.07 },
  log: { imagesEverySteps: 0 },
});

interface Course {
  readonly seed: number;
  /** Seconds of training against k-NN top-1, 0 to 1; the first point is the untrained network. */
  readonly points: readonly Point[];
}

async function runOurs(seed: number): Promise<Course> {
  const dir = join(out, `tricera-${seed}`);
  await train({ config: ourConfig(seed), out: dir, overwrite: true });
  return { seed, points: (await knnCurve(dir, "minutes")).map(([x, y]): Point => [60 * x, y]) };
}

interface PeerLine {
  readonly random_init_knn?: number;
  readonly epoch?: number;
  readonly train_s?: number;
  readonly knn?: number;
}

async function runPeer(seed: number): Promise<Course> {
  const child = spawn(python, [peer ?? "", "--data", data ?? "", "--set", ...peerSettings(seed)], { stdio: ["ignore", "pipe", "inherit"] });
  const points: Point[] = [];
  for await (const line of createInterface(child.stdout)) {
    const said = JSON.parse(line) as PeerLine; // the script's own lines
    if (said.epoch !== undefined) points.push([said.train_s ?? NaN, (said.knn ?? NaN) / 100]);
    else if (points.length === 0) points.push([0, (said.random_init_knn ?? NaN) / 100]);
  }
  return { seed, points };
}

const [ours, theirs]: [Course[], Course[]] = [[], []];
for (const seed of values.seeds.split(",").map(Number)) {
  theirs.push(await runPeer(seed));
  ours.push(await runOurs(seed));
  await writeFileAtomic(join(out, "courses.json"), JSON.stringify({ ours, theirs }));
  process.stdout.write(`${JSON.stringify({ seed, tricera: ours.at(-1)?.points.at(-1), pytorch: theirs.at(-1)?.points.at(-1) })}\n`);
}
const named = (name: string, courses: readonly Course[]): { name: string; points: readonly Point[] }[] =>
  courses.map(({ seed, points }) => ({ name: `${name} ${seed}`, points }));
await writeCurves(fileURLToPath(new URL(".", import.meta.url)), "same-science", {
  chart: {
    title: "CIFAR-10, one recipe by both, three seeds",
    unit: "k-NN top-1",
    format: "percent",
    xName: "seconds of training",
    series: [...named("Tricera", ours), ...named("PyTorch", theirs)],
  },
  facts: { shared: SHARED, epochs },
});
