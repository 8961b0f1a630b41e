/** @file Before the first step: the images, what the machine is, the whole configuration. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { arch, availableParallelism, platform } from "node:os";
import { join } from "node:path";
import { ConfigError, FormatError } from "../../core/index.ts";
import { type DataList, imageRef } from "../../data/index.ts";
import { type ImageRef, loadBands, loadImage, readImageSize } from "../../images/node/index.ts";
import { writeFileAtomic } from "../../weights/index.ts";
import {
  type BandFacts,
  parseTrainConfig,
  type ResolvedConfig,
  type RunFacts,
  type TrainConfig,
  type UserConfig,
} from "../config/index.ts";
import { usableMemory } from "./usable-memory.ts";

/** Images that are looked at. */
const SAMPLE = 48;

export interface ImagePolicy {
  readonly decode: "python" | "managed";
  readonly alpha: "drop" | "white" | "black";
  /** Three are colours; any other number are bands as they are stored. */
  readonly channels: number;
}

/** How a run that is not settled yet reads its images. */
export function imagePolicy({ data }: UserConfig, channels: number): ImagePolicy {
  return { decode: data?.decode ?? "managed", alpha: data?.alpha ?? "white", channels };
}

/** What a look at some of the images shows. */
export interface DataLook {
  readonly images: number;
  readonly looked: number;
  /** Shorter sides of the whole ones, ascending. */
  readonly sidesPx: readonly number[];
  /** Mean and standard deviation of each channel, 0 to 1. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** Why images could not be read. */
  readonly broken: readonly string[];
}

/** Images spread evenly over the list. */
function sampleOf(list: DataList): readonly ImageRef[] {
  const n = list.entries.length;
  const looked = Math.min(SAMPLE, n);
  return Array.from({ length: looked }, (_, i) => imageRef(list, Math.floor((i * n) / looked)));
}

/** Reads images spread over the list. Throws FormatError when none of them can be read. */
export async function lookAtImages(list: DataList, policy: ImagePolicy): Promise<DataLook> {
  const refs = sampleOf(list);
  const looked = refs.length;
  const [sides, broken]: [number[], string[]] = [[], []];
  const { channels } = policy;
  const [sum, square] = [new Float64Array(channels), new Float64Array(channels)];
  for (const ref of refs)
    try {
      const image = channels === 3 ? await loadImage(ref, policy) : await loadBands(ref, policy);
      sides.push(Math.min(image.width, image.height));
      addMoments(image.data, { sum, square });
    } catch (error) {
      broken.push(error instanceof Error ? error.message : String(error));
    }
  if (sides.length === 0) throw noneReadable(looked, broken[0]);
  const moment = (c: number): readonly [mean: number, std: number] => {
    const mean = (sum[c] ?? 0) / sides.length;
    return [mean, Math.sqrt(Math.max(0, (square[c] ?? 0) / sides.length - mean * mean))];
  };
  const moments = Array.from({ length: channels }, (_, c) => moment(c));
  return {
    images: list.entries.length,
    looked,
    sidesPx: sides.sort((x, y) => x - y),
    mean: moments.map(([mean]) => mean),
    std: moments.map(([, std]) => std),
    broken,
  };
}

/** Adds one image's channel means of x and x², so that every image counts the same. Bytes are of 255, floats of 1. */
function addMoments(data: Uint8Array | Float32Array, { sum, square }: { readonly sum: Float64Array; readonly square: Float64Array }): void {
  const channels = sum.length;
  const pixels = data.length / channels;
  const most = data instanceof Uint8Array ? 255 : 1;
  for (let i = 0; i < data.length; i++) {
    const x = (data[i] ?? 0) / most;
    const c = i % channels;
    sum[c] = (sum[c] ?? 0) + x / pixels;
    square[c] = (square[c] ?? 0) + (x * x) / pixels;
  }
}

/** Mean and deviation of each band. Throws ConfigError for a band that is the same everywhere: nothing can be normalised by it. */
function bandFacts({ mean, std, sidesPx }: DataLook): BandFacts {
  const flat = std.findIndex((s) => !(s > 0));
  if (flat < 0) return { mean, std, images: sidesPx.length };
  throw new ConfigError(
    `Cannot measure channel ${flat + 1} of ${std.length}: it is ${mean[flat] ?? 0} everywhere on the ${sidesPx.length} pictures looked at; leave it out of the files, or give augment.mean and augment.std`,
    { keyPath: "augment.std" },
  );
}

/** The facts of pictures of bands whose mean and deviation the user does not give; of colours, ImageNet's are used. */
export async function measureBands(
  list: DataList,
  { user, channels }: { readonly user: UserConfig; readonly channels: number },
): Promise<Pick<RunFacts, "bands">> {
  const isGiven = user.augment?.mean !== undefined && user.augment.std !== undefined;
  return channels === 3 || isGiven ? {} : { bands: bandFacts(await lookAtImages(list, imagePolicy(user, channels))) };
}

/** Number and size of the images, cores and memory, by the headers of some images. Broken ones are passed over here; the loader reports them. */
export async function gatherFacts(list: DataList): Promise<RunFacts> {
  const refs = sampleOf(list);
  const found = await Promise.allSettled(refs.map(readImageSize));
  const sidesPx = found.flatMap((f) => (f.status === "fulfilled" ? Math.min(f.value.width, f.value.height) : []));
  if (sidesPx.length === 0) throw noneReadable(refs.length, found[0]?.status === "rejected" ? String(found[0].reason) : undefined);
  return factsOf({ images: list.entries.length, sidesPx: sidesPx.sort((x, y) => x - y) });
}

function noneReadable(looked: number, why = "unknown"): FormatError {
  return new FormatError(`Cannot start training: none of ${looked} images looked at can be read (${why}); check --data`);
}

/** The facts that the rules want of a look at the images. */
export function factsOf({ images, sidesPx }: Pick<DataLook, "images" | "sidesPx">): RunFacts {
  return { images, medianSidePx: sidesPx[sidesPx.length >> 1] ?? 224, cores: availableParallelism(), memoryBytes: usableMemory() };
}

/** What `config.json` holds: every value, and its reason. */
export async function writeConfig(runDir: string, { config, reasons }: ResolvedConfig): Promise<void> {
  await writeFileAtomic(join(runDir, "config.json"), `${JSON.stringify({ formatVersion: 1, config, reasons }, null, 2)}\n`);
}

/** Reads a run's configuration. Throws FormatError and ConfigError. */
export async function readConfig(runDir: string): Promise<ResolvedConfig> {
  const file = join(runDir, "config.json");
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new ConfigError(`Cannot read run "${runDir}": it has no config.json; give the --out of an earlier run`, { keyPath: "", cause });
  });
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`Cannot read "${file}": it is not JSON; start the run anew`, { file, cause });
  }
  const { config, reasons } = typeof raw === "object" && raw !== null ? (raw as Readonly<Record<string, unknown>>) : {}; // any object has such keys or not
  const words =
    typeof reasons === "object" && reasons !== null
      ? Object.entries(reasons).map(([k, v]: [string, unknown]) => [k, String(v)] as const)
      : [];
  return { config: parseTrainConfig(config, `"${file}"`), reasons: Object.fromEntries(words) };
}

/** Machine kind and runtime: the same bits are promised where this text is the same. */
export function runtimeName(device: string): string {
  return `${device} ${platform()}-${arch()} node-${process.versions.node.split(".")[0] ?? ""}`;
}

/** A short name of a configuration, for model cards. */
export function digestConfig(config: TrainConfig): string {
  return createHash("sha256").update(JSON.stringify(config)).digest("hex").slice(0, 16);
}
