/** @file k-NN of a network in training on labelled images: how well its features tell classes. */
import { type DataList, holdOut, listData } from "../../data/index.ts";
import { voteKnn } from "../../evals/index.ts";
import { type Encoder, extractFeatures } from "../../features/index.ts";
import type { EvalPool } from "../../images/node/index.ts";
import type { TrainConfig } from "../config/index.ts";

export interface KnnProbeOptions {
  readonly config: TrainConfig;
  readonly encoder: Encoder;
  readonly pool: EvalPool;
}

interface Sides {
  readonly train: DataList;
  readonly test: DataList;
}

async function labelledSides(train: string, test: string | null): Promise<Sides> {
  const list = await listData(train);
  return test === null ? holdOut(list) : { train: list, test: await listData(test) };
}

/** Asks the neighbours of the labelled images; lists them once. */
export class KnnProbe {
  readonly #options: KnnProbeOptions;
  #sides: Sides | undefined;

  constructor(options: KnnProbeOptions) {
    this.#options = options;
  }

  /** Share of right first guesses, 0 to 1. */
  async top1(signal: AbortSignal | undefined): Promise<number> {
    const { config, encoder, pool } = this.#options;
    const { knn, crops, train } = config;
    this.#sides ??= await labelledSides(knn.train ?? "", knn.test);
    const labelled = async (list: DataList): Promise<{ features: Float32Array; dim: number; labels: string[] }> => {
      const { features, dim, rows } = await extractFeatures(list, { encoder, pool, imageSizePx: crops.globalSizePx, signal });
      return { features, dim, labels: Array.from(rows, (i) => list.entries[i]?.label ?? "") };
    };
    const [bank, queries] = [await labelled(this.#sides.train), await labelled(this.#sides.test)];
    const [score] = await voteKnn([bank, queries], { k: [knn.k], temperature: knn.temperature, threads: train.threads, signal });
    return score?.top1 ?? NaN;
  }
}
