/** @file Dense features of a network in training: monitors on fixed images, and patch k-NN on images with masks. */
import type { JobOptions } from "../../core/index.ts";
import { type DataList, type DenseParts, listDenseSides } from "../../data/index.ts";
import { patchKnn } from "../../evals/index.ts";
import type { Encoder } from "../../features/index.ts";
import { type EvalPool, openEvalPool } from "../../images/node/index.ts";
import { type DenseAlarm, DenseMonitor, type DenseReading } from "../dense-alarms.ts";
import { clsPatchSimilarity, patchSimilarityDrift, patchSimilarityMean } from "../dense-monitors.ts";
import { type MetricsLine, readMetrics } from "../run/index.ts";
import { readFirstSight, sharedTokens, type Sight, storeFirstSight, takeSight, watchedImages } from "./patch-sight.ts";

/** Patches that vote and are classified at most: a look should take seconds. */
const [MAX_BANK, MAX_QUERIES] = [10_000, 10_000];

/** Labelled dense sets of a run: the configuration's `dense`. */
export interface DenseSets {
  /** Images with masks whose patches vote; null = no patch k-NN. */
  readonly train: string | null;
  /** Images with masks that are classified; null = the set's own split, or every fifth image of `train`. */
  readonly test: string | null;
  readonly k: number;
  readonly imageSizePx: number;
}

export interface PatchProbeOptions {
  readonly runDir: string;
  /** The run's images: a few of them are watched. */
  readonly list: DataList;
  /** The teacher, which follows the run. */
  readonly encoder: Encoder;
  /** Gives whole pictures as squares of `imageSizePx`. */
  readonly pool: EvalPool;
  readonly imageSizePx: number;
  readonly dense: DenseSets;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly threads: number;
  /** Steps before which nothing sounds. Default 100. */
  readonly quietSteps?: number;
  /** Drift is measured since the first look at or after this step. Default 0: since the first look. */
  readonly driftFromStep?: number;
}

/** Names of what a look adds to `metrics.jsonl`. */
export type DenseFact = "dense.drift" | "dense.similarity" | "dense.clsPatch" | "dense.patchTop1" | "dense.miou";
export type DenseFacts = { readonly [K in DenseFact]?: number };

export interface DenseLook {
  readonly facts: DenseFacts;
  readonly alarms: readonly DenseAlarm[];
}

export interface LookOptions extends Pick<JobOptions, "signal" | "onNotice"> {
  /** Also classify the patches of the labelled sets, where there are any. Default true. */
  readonly score?: boolean | undefined;
}

function readingOf(line: MetricsLine): DenseReading {
  const value = (name: DenseFact): number | undefined => {
    const found = line[name];
    return typeof found === "number" ? found : undefined;
  };
  return {
    step: line.step,
    similarity: value("dense.similarity"),
    clsPatch: value("dense.clsPatch"),
    patchTop1: value("dense.patchTop1"),
  };
}

/** Watches the dense features of one run. What it compares with is kept in `RUN/pictures`, so that a resumed run goes on with it. */
export class PatchProbe {
  readonly #options: PatchProbeOptions;
  readonly #monitor: DenseMonitor;
  #hasHistory = false;
  #sides: DenseParts | undefined;

  constructor(options: PatchProbeOptions) {
    const { quietSteps } = options;
    this.#options = options;
    this.#monitor = new DenseMonitor(quietSteps === undefined ? {} : { quietSteps });
  }

  /** True where labelled dense sets are given. */
  get canScore(): boolean {
    return this.#options.dense.train !== null;
  }

  /** One look at the teacher after `step` steps: facts for the metrics, and alarms. Throws as `patchKnn()` and `listDense()` do. */
  async look(step: number, { score = true, signal, onNotice }: LookOptions = {}): Promise<DenseLook> {
    await this.#recall(step);
    const facts: DenseFacts = {
      ...(await this.#watch(step, signal)),
      ...(score && this.canScore ? await this.#score({ signal, onNotice }) : {}),
    };
    return { facts, alarms: this.#monitor.read(readingOf({ step, ...facts })) };
  }

  /** A resumed run's monitor knows the looks before it. */
  async #recall(step: number): Promise<void> {
    if (this.#hasHistory) return;
    this.#hasHistory = true;
    for (const line of await readMetrics(this.#options.runDir)) {
      const reading = readingOf(line);
      const { similarity, clsPatch, patchTop1 } = reading;
      if (line.step < step && [similarity, clsPatch, patchTop1].some((x) => x !== undefined)) this.#monitor.read(reading);
    }
  }

  async #watch(step: number, signal: AbortSignal | undefined): Promise<DenseFacts> {
    const { runDir, list, driftFromStep = 0 } = this.#options;
    const stored = await readFirstSight(runDir);
    const first = stored !== undefined && stored.step <= step ? stored : undefined; // a run that went back may have left a later one
    const sight = await takeSight(first?.images ?? watchedImages(list), { ...this.#options, step, signal });
    if (sight === undefined) return {};
    const begins = first === undefined && step >= driftFromStep;
    if (begins) await storeFirstSight(runDir, sight);
    const { tokens, cls } = sight;
    const drift = begins ? 0 : first === undefined ? undefined : driftOf(sight, first);
    return {
      ...(drift === undefined ? {} : { "dense.drift": drift }),
      "dense.similarity": patchSimilarityMean(tokens),
      "dense.clsPatch": clsPatchSimilarity({ data: cls, rows: tokens.images, width: tokens.width }, tokens),
    };
  }

  /** A look's own pool: the sets may be seen at another size, and as they are stored, for so their masks were drawn. */
  async #score({ signal, onNotice }: Pick<LookOptions, "signal" | "onNotice">): Promise<DenseFacts> {
    const { dense, encoder, mean, std, threads } = this.#options;
    const { train, test, k, imageSizePx } = dense;
    this.#sides ??= await listDenseSides(train ?? "", test, { signal, onNotice });
    await using pool = openEvalPool({ imageSizePx, resize: "square", mean, std, threads, decode: "python", alpha: "drop" });
    const sizes = { maxBank: MAX_BANK, maxQueries: MAX_QUERIES };
    const { patchTop1, miou } = await patchKnn(this.#sides, { encoder, pool, imageSizePx, k, threads, ...sizes, signal, onNotice });
    return { "dense.patchTop1": patchTop1, "dense.miou": miou };
  }
}

function driftOf(now: Sight, then: Omit<Sight, "cls">): number | undefined {
  const shared = sharedTokens(now, then);
  return shared === undefined ? undefined : patchSimilarityDrift(shared.now, shared.before);
}

/** The probe of a run. */
export function openPatchProbe(options: PatchProbeOptions): PatchProbe {
  return new PatchProbe(options);
}
