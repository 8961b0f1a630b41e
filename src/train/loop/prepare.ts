/** @file Before the first step: the images, what the machine is, the whole configuration. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { arch, availableParallelism, platform, totalmem } from "node:os";
import { join } from "node:path";
import { ConfigError, FormatError } from "../../core/index.ts";
import { type DataList, imageRef } from "../../data/index.ts";
import { loadImage } from "../../images/node/index.ts";
import { writeFileAtomic } from "../../weights/index.ts";
import { parseTrainConfig, type ResolvedConfig, type RunFacts, type TrainConfig } from "../config/index.ts";

/** Images whose size is looked at. */
const SAMPLE = 48;

/** Number and size of the images, cores and memory. Broken images are passed over here; the loader reports them. */
export async function gatherFacts(
  list: DataList,
  config: { readonly decode: "python" | "managed"; readonly alpha: "drop" | "white" | "black" },
): Promise<RunFacts> {
  const n = list.entries.length;
  const ids = [...new Set(Array.from({ length: Math.min(SAMPLE, n) }, (_, i) => Math.floor((i * n) / Math.min(SAMPLE, n))))];
  const sides: number[] = [];
  let broken: unknown;
  for (const id of ids)
    try {
      const { width, height } = await loadImage(imageRef(list, id), config);
      sides.push(Math.min(width, height));
    } catch (error) {
      broken = error;
    }
  if (sides.length === 0)
    throw new FormatError(
      `Cannot start training: none of ${ids.length} images looked at can be read (${broken instanceof Error ? broken.message : "unknown"}); check --data`,
      {
        cause: broken,
      },
    );
  sides.sort((a, b) => a - b);
  return { images: n, medianSidePx: sides[sides.length >> 1] ?? 224, cores: availableParallelism(), memoryBytes: totalmem() };
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
