/** @file Looks at the teacher along a run: its k-NN, what it makes of a few fixed images, and the report. */
import { join } from "node:path";
import { InternalError } from "../../core/index.ts";
import type { DataList } from "../../data/index.ts";
import type { Device } from "../../engine/runtime/index.ts";
import { Encoder } from "../../features/index.ts";
import { type EvalPool, openEvalPool } from "../../images/node/index.ts";
import { renderReport } from "../../views/index.ts";
import { writeFileAtomic } from "../../weights/index.ts";
import type { ResolvedConfig, TrainConfig } from "../config/index.ts";
import { KnnProbe } from "../probes/knn-probe.ts";
import { type DenseLook, openPatchProbe, type PatchProbe } from "../probes/patch-probe.ts";
import { type SampleContext, storeFirstSight, storeLastSight } from "../probes/neighbour-sample.ts";
import { assembleReport, storeAlarm, storeFacts } from "../probes/run-report.ts";
import { shownImages, snapshotSteps, storeSnapshot } from "../probes/snapshots.ts";
import { readMetrics } from "../run/index.ts";
import type { Stepper } from "../stepper.ts";
import { backboneOf, trainedModels, watchedConfig } from "./networks.ts";
import { teacherBackbone } from "./teacher-backbone.ts";

const DRIFT_FROM_SHARE = 0.1;

export interface ProbeOptions {
  readonly dir: string;
  readonly list: DataList;
  readonly resolved: ResolvedConfig;
  readonly stepper: Stepper;
  readonly device: Device;
  readonly totalSteps: number;
}

/** A network under watch: its weights follow the run, adapters after a `refresh`. */
interface Watched {
  readonly name: string;
  readonly encoder: Encoder;
  readonly refresh: () => void;
}

/** The backbone of the teacher, or of every student's average. */
function openTeachers({ stepper, device, resolved }: ProbeOptions): Watched[] {
  return trainedModels(resolved.config).flatMap(({ name, model }, i) => {
    const trained = stepper.learners[i];
    if (trained === undefined) return [];
    const { params, refresh } = teacherBackbone(trained, { config: resolved.config, stepper });
    return [{ name, encoder: new Encoder({ config: backboneOf(model), device, params }), refresh }];
  });
}

function openPool({ data, augment, crops }: TrainConfig): EvalPool {
  const { mean, std } = augment;
  const { decode, alpha } = data;
  return openEvalPool({ resize: "square", threads: Math.max(1, data.workers), decode, alpha, mean, std, imageSizePx: crops.globalSizePx });
}

/** Watches one run. What it sees is kept in `RUN/pictures`, so that a resumed run's report shows the whole of it. */
export class Probe implements AsyncDisposable {
  readonly #options: ProbeOptions;
  /** With the network that is looked at. */
  readonly #config: TrainConfig;
  readonly #encoder: Encoder;
  readonly #watched: readonly Watched[];
  readonly #pool: EvalPool;
  readonly #shown: DataList;
  readonly #knn: readonly (readonly [name: string, probe: KnnProbe])[];
  readonly #patches: PatchProbe;

  constructor(options: ProbeOptions) {
    const config = watchedConfig(options.resolved.config);
    this.#options = options;
    this.#config = config;
    this.#watched = openTeachers(options);
    const [first] = this.#watched;
    if (first === undefined) throw new InternalError("Cannot watch the run: it trains no network");
    this.#encoder = first.encoder;
    this.#pool = openPool(config);
    this.#shown = shownImages(options.list);
    this.#knn = this.#watched.map(({ name, encoder }) => [name, new KnnProbe({ config, encoder, pool: this.#pool })]);
    this.#patches = openPatchProbe({
      runDir: options.dir,
      list: options.list,
      encoder: this.#encoder,
      pool: this.#pool,
      imageSizePx: config.crops.globalSizePx,
      dense: config.dense,
      mean: config.augment.mean,
      std: config.augment.std,
      threads: config.train.threads,
      // a random network's patches say nothing: drift is measured from where some learning is done
      driftFromStep: config.init.from === null ? Math.round(DRIFT_FROM_SHARE * options.totalSteps) : 0,
      quietSteps: Math.min(100, Math.ceil(options.totalSteps / 5)),
    });
  }

  get #sampleContext(): SampleContext {
    return { runDir: this.#options.dir, config: this.#config, encoder: this.#encoder, pool: this.#pool };
  }

  alarm(text: string): void {
    storeAlarm(this.#options.dir, text);
  }

  /** Top-1 on the labelled images, 0 to 1: of the teacher, or of each student, in order. */
  async knn(signal: AbortSignal | undefined): Promise<readonly (readonly [name: string, top1: number])[]> {
    this.#refresh();
    const scores: (readonly [string, number])[] = [];
    for (const [name, probe] of this.#knn) scores.push([name, await probe.top1(signal)]);
    return scores;
  }

  #refresh(): void {
    for (const { refresh } of this.#watched) refresh();
  }

  /** Dense features of the teacher: monitors on fixed images, and with `score` patch k-NN where images with masks are given. */
  async dense(step: number, options: { readonly score: boolean; readonly signal: AbortSignal | undefined }): Promise<DenseLook> {
    this.#refresh();
    return await this.#patches.look(step, options);
  }

  /** Stores what the teacher makes of the fixed images; the first time also of the sample whose neighbours the report shows. */
  async snapshot(step: number, signal?: AbortSignal): Promise<void> {
    const { dir, list } = this.#options;
    this.#refresh();
    await storeSnapshot(dir, step, { shown: this.#shown, encoder: this.#encoder, pool: this.#pool, config: this.#config });
    await storeFirstSight(list, step, { ...this.#sampleContext, signal });
  }

  /** Writes `report.html` from what the run has stored. After an abort the neighbours are not looked at again: people wait. */
  async report(facts: readonly (readonly [string, string])[], signal?: AbortSignal): Promise<void> {
    const { dir, resolved, list } = this.#options;
    const hasPictures = (await snapshotSteps(dir)).length > 0;
    const lastStep = (await readMetrics(dir)).reduce((most, { step }) => Math.max(most, step), 0);
    this.#refresh();
    if (hasPictures && signal?.aborted !== true) await storeLastSight(lastStep, this.#sampleContext);
    await storeFacts(dir, facts);
    await writeFileAtomic(join(dir, "report.html"), renderReport(await assembleReport(dir, { resolved, list, facts })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { encoder } of this.#watched) encoder[Symbol.dispose]();
    await this.#pool[Symbol.asyncDispose]();
  }
}
