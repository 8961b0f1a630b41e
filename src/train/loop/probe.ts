/** @file Looks at the teacher along a run: its k-NN, its patch tokens and attention on a few fixed images, and the report. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { HostTensor } from "../../core/index.ts";
import { type DataList, holdOut, imageRef, listData, makeList } from "../../data/index.ts";
import type { Device } from "../../engine/runtime/index.ts";
import { voteKnn } from "../../evals/index.ts";
import { Encoder, extractFeatures } from "../../features/index.ts";
import { encodeJpeg, encodePng, type EvalPool, openEvalPool } from "../../images/node/index.ts";
import { attentionPictures, pcaPicturesOverEpochs, renderReport, type PictureTable, type ReportPicture } from "../../views/index.ts";
import { readSafetensors, writeFileAtomic, writeSafetensors } from "../../weights/index.ts";
import { flatten, type ResolvedConfig } from "../config/index.ts";
import { readMetrics } from "../run/index.ts";
import type { Stepper } from "../stepper.ts";
import { vitOf } from "./dino-config.ts";

/** Images that are drawn along the run, and moments that the report shows. */
const SHOWN = 5;
const MOMENTS = 6;
const SNAPSHOT = /^step-(\d+)\.safetensors$/;
const BACKBONE = "backbone.";

interface ProbeOptions {
  readonly dir: string;
  readonly list: DataList;
  readonly resolved: ResolvedConfig;
  readonly stepper: Stepper;
  readonly device: Device;
}

interface Labelled {
  readonly train: DataList;
  readonly test: DataList;
}

/** Watches one run. */
export class Probe implements AsyncDisposable {
  readonly #options: ProbeOptions;
  readonly #encoder: Encoder;
  readonly #pool: EvalPool;
  readonly #shown: DataList;
  readonly #alarms: string[] = [];
  #labelled: Labelled | undefined;

  constructor(options: ProbeOptions) {
    const { resolved, stepper, device, list } = options;
    const { config } = resolved;
    this.#options = options;
    const names = stepper.specs.filter((s) => s.name.startsWith(BACKBONE)).map((s) => s.name);
    this.#encoder = new Encoder({
      config: vitOf(config),
      device,
      params: new Map(names.map((n) => [n.slice(BACKBONE.length), stepper.flats.teacher.view(n)])),
    });
    const { mean, std } = config.augment;
    this.#pool = openEvalPool({
      resize: "square",
      threads: 1,
      decode: config.data.decode,
      alpha: config.data.alpha,
      mean,
      std,
      imageSizePx: config.crops.globalSizePx,
    });
    const n = list.entries.length;
    this.#shown = makeList(
      Array.from({ length: Math.min(SHOWN, n) }, (_, i) => list.entries[Math.floor(((i + 0.5) * n) / Math.min(SHOWN, n))]).flatMap(
        (e) => e ?? [],
      ),
    );
  }

  alarm(text: string): void {
    this.#alarms.push(text);
  }

  /** Top-1 of the teacher on the labelled images, 0 to 1. */
  async knn(signal: AbortSignal | undefined): Promise<number> {
    const { knn, crops, train } = this.#options.resolved.config;
    this.#labelled ??= await labelledOf(knn.train ?? "", knn.test);
    const sides = [];
    for (const list of [this.#labelled.train, this.#labelled.test]) {
      const { features, dim, rows } = await extractFeatures(list, {
        encoder: this.#encoder,
        pool: this.#pool,
        imageSizePx: crops.globalSizePx,
        signal,
      });
      sides.push({ features, dim, labels: Array.from(rows, (i) => list.entries[i]?.label ?? "") });
    }
    const [a, b] = sides;
    if (a === undefined || b === undefined) return NaN;
    const [score] = await voteKnn([a, b], { k: [knn.k], temperature: knn.temperature, threads: train.threads, signal });
    return score?.top1 ?? NaN;
  }

  /** Stores what the teacher makes of the fixed images: patch tokens and attention. */
  async snapshot(step: number): Promise<void> {
    const { dir, resolved } = this.#options;
    const sizePx = resolved.config.crops.globalSizePx;
    const { width, patchSizePx, heads } = resolved.config.model;
    const { images } = await this.#pool.load(this.#shown.entries.map((_, i) => imageRef(this.#shown, i)));
    const { features, attention } = await this.#encoder.encode(images, { pool: "patch", sizePx, attention: true });
    const [b, p] = [this.#shown.entries.length, (sizePx / patchSizePx) ** 2];
    const tensors = new Map<string, HostTensor>([
      ["tokens", { dtype: "f32", shape: [b, p, width], data: features }],
      ["attention", { dtype: "f32", shape: [b, heads, p], data: attention ?? new Float32Array(b * heads * p) }],
    ]);
    await writeSafetensors(join(dir, "pictures", `step-${String(step).padStart(8, "0")}.safetensors`), tensors);
  }

  /** Writes `report.html` from what the run has stored. */
  async report(facts: readonly (readonly [string, string])[]): Promise<void> {
    const { dir, resolved } = this.#options;
    const lines = await readMetrics(dir);
    const of = (name: string): readonly (readonly [number, number])[] =>
      lines.flatMap((l) => (typeof l[name] === "number" ? [[l.step, l[name]] as const] : []));
    const chart = (title: string, ...names: readonly string[]) => ({ title, series: names.map((name) => ({ name, points: of(name) })) });
    const charts = [
      chart("Loss", "loss"),
      chart("k-NN top-1", "knnTop1"),
      chart("KL of student to teacher", "kl"),
      chart("Entropy: teacher, targets", "teacherEntropy", "targetEntropy"),
      chart("Feature spread (1 = even)", "featureStd"),
      chart("Effective rank", "effectiveRank"),
      chart("Gradient norm", "gradNorm"),
      chart("Learning rate", "lr"),
      chart("Images a second", "imagesPerSecond"),
    ];
    const knn = of("knnTop1");
    const [first, last] = [knn[0], knn.at(-1)];
    const percent = (x: number | undefined): string => `${(100 * (x ?? NaN)).toFixed(1)} %`;
    const verdict =
      first !== undefined && last !== undefined && last[0] > first[0]
        ? `k-NN accuracy went from ${percent(first[1])} before training to ${percent(last[1])} after ${last[0]} steps.`
        : `The loss went from ${of("loss")[0]?.[1].toFixed(2) ?? "?"} to ${of("loss").at(-1)?.[1].toFixed(2) ?? "?"}; labelled images (--knn-data) would tell how good the features are.`;
    const config = flatten(resolved.config).map(([key, value]) => [key, JSON.stringify(value), resolved.reasons[key] ?? ""] as const);
    const next = [
      `npx tricera train --out ${dir} --resume`,
      `npx tricera embed --model ${dir} --data PHOTOS --out features.safetensors`,
      `npx tricera eval knn --model ${dir} --train LABELLED --test LABELLED`,
    ];
    const html = renderReport({
      title: `DINO on ${this.#options.list.entries.length.toLocaleString("en")} images`,
      verdict,
      facts,
      alarms: this.#alarms,
      charts,
      pictures: await this.#pictures(),
      config,
      next,
    });
    await writeFileAtomic(join(dir, "report.html"), html);
  }

  async #pictures(): Promise<readonly PictureTable[]> {
    const { dir, resolved } = this.#options;
    const { config } = resolved;
    const names = (await readdir(join(dir, "pictures")).catch(() => [])).filter((n) => SNAPSHOT.test(n)).sort();
    const chosen = [
      ...new Set(
        Array.from(
          { length: Math.min(MOMENTS, names.length) },
          (_, i) => names[Math.round((i * (names.length - 1)) / Math.max(1, Math.min(MOMENTS, names.length) - 1))] ?? "",
        ),
      ),
    ];
    if (chosen.length === 0) return [];
    const shots = await Promise.all(chosen.map(async (name) => (await readSafetensors(join(dir, "pictures", name))).tensors));
    const side = config.crops.globalSizePx / config.model.patchSizePx;
    const grid = { rows: side, cols: side };
    const { width: d, heads } = config.model;
    const part = (t: HostTensor | undefined, i: number, length: number): Float32Array =>
      t?.data instanceof Float32Array ? t.data.slice(i * length, (i + 1) * length) : new Float32Array(length);
    const b = this.#shown.entries.length;
    const tokens = shots.map((shot) =>
      Array.from({ length: b }, (_, i) => ({ tokens: part(shot.get("tokens"), i, side * side * d), grid })),
    );
    const px = Math.max(1, Math.round(112 / side));
    const pca = pcaPicturesOverEpochs(tokens, { d, patchPx: px });
    const inputs = await this.#inputs();
    const columns = ["image", ...chosen.map((name) => `step ${Number(SNAPSHOT.exec(name)?.[1] ?? 0)}`)];
    const rowsOf = async (draw: (moment: number, image: number) => Parameters<typeof encodePng>[0]): Promise<ReportPicture[][]> =>
      Promise.all(
        inputs.map(async (input, i) => [
          input,
          ...(await Promise.all(
            chosen.map(async (_, t): Promise<ReportPicture> => ({ mime: "image/png", bytes: await encodePng(draw(t, i)) })),
          )),
        ]),
      );
    const blank = { width: 1, height: 1, data: new Uint8Array(3) };
    return [
      {
        title: "Features appear",
        text: "Patch features of the teacher, their three main directions as colours: patches of one colour look alike to the network.",
        columns,
        rows: await rowsOf((t, i) => pca[t]?.[i] ?? blank),
      },
      {
        title: "Attention",
        text: "Where the class token looks in the last block, mean over heads.",
        columns,
        rows: await rowsOf(
          (t, i) =>
            attentionPictures(part(shots[t]?.get("attention"), i, heads * side * side), { heads, grid, widthPx: 112, heightPx: 112 }).mean,
        ),
      },
    ];
  }

  async #inputs(): Promise<readonly ReportPicture[]> {
    const { crops, augment } = this.#options.resolved.config;
    const { images } = await this.#pool.load(this.#shown.entries.map((_, i) => imageRef(this.#shown, i)));
    const area = crops.globalSizePx ** 2;
    return Promise.all(
      this.#shown.entries.map(async (_, i): Promise<ReportPicture> => {
        const data = Uint8Array.from({ length: 3 * area }, (__, j) => {
          const c = j % 3;
          const x = (images[(3 * i + c) * area + Math.floor(j / 3)] ?? 0) * (augment.std[c] ?? 1) + (augment.mean[c] ?? 0);
          return Math.max(0, Math.min(255, Math.round(255 * x)));
        });
        return { mime: "image/jpeg", bytes: await encodeJpeg({ width: crops.globalSizePx, height: crops.globalSizePx, data }) };
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#encoder[Symbol.dispose]();
    await this.#pool[Symbol.asyncDispose]();
  }
}

async function labelledOf(train: string, test: string | null): Promise<Labelled> {
  const list = await listData(train);
  return test === null ? holdOut(list) : { train: list, test: await listData(test) };
}
