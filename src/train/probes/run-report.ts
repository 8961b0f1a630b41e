/** @file A run's report as data, from nothing but what the run folder holds. */
import { appendFileSync, mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type DataList, readFrozenList } from "../../data/index.ts";
import { percent, type ReportData, shellWord } from "../../views/index.ts";
import { writeFileAtomic } from "../../weights/index.ts";
import { flatten, type ResolvedConfig, type TrainConfig } from "../config/index.ts";
import { watchedConfig } from "../loop/method-config.ts";
import { readConfig } from "../loop/prepare.ts";
import { type MetricsLine, readMetrics } from "../run/index.ts";
import { curveSection, pointsOf } from "./curves.ts";
import { denseSection } from "./patch-section.ts";
import { neighbourSection } from "./neighbour-section.ts";
import { pictureSections } from "./picture-sections.ts";
import { PICTURES } from "./snapshots.ts";

type Facts = ReportData["facts"];

const alarmFile = (runDir: string): string => join(runDir, PICTURES, "alarms.txt");
const factsFile = (runDir: string): string => join(runDir, PICTURES, "facts.json");

/** Keeps an alarm for the report, over resumes too. */
export function storeAlarm(runDir: string, text: string): void {
  mkdirSync(join(runDir, PICTURES), { recursive: true });
  appendFileSync(alarmFile(runDir), `${text.replaceAll("\n", " ")}\n`);
}

/** Every alarm once: after a resume the same steps may sound them again. */
async function readAlarms(runDir: string): Promise<readonly string[]> {
  const text = await readFile(alarmFile(runDir), "utf8").catch(() => "");
  return [...new Set(text.split("\n").filter((line) => line !== ""))];
}

/** Keeps the facts of a run's head, so that its report can be made again. */
export async function storeFacts(runDir: string, facts: Facts): Promise<void> {
  await writeFileAtomic(factsFile(runDir), `${JSON.stringify(facts)}\n`);
}

async function readFacts(runDir: string): Promise<Facts> {
  const found: unknown = JSON.parse(await readFile(factsFile(runDir), "utf8").catch(() => "[]"));
  if (!Array.isArray(found)) return [];
  return found.flatMap((pair: unknown): Facts => (Array.isArray(pair) ? [[String(pair[0]), String(pair[1])]] : []));
}

function verdictOf(lines: readonly MetricsLine[]): string {
  const knn = pointsOf(lines, "knnTop1");
  const [first, last] = [knn[0], knn.at(-1)];
  if (first !== undefined && last !== undefined && last[0] > first[0]) {
    const before = first[0] === 0 ? "before training" : `at step ${first[0]}`;
    return `k-NN accuracy went from ${percent(first[1])} ${before} to ${percent(last[1])} after ${last[0].toLocaleString("en-US")} steps.`;
  }
  const loss = pointsOf(lines, "loss");
  const from = loss[0]?.[1].toFixed(2) ?? "?";
  return `The loss went from ${from} to ${loss.at(-1)?.[1].toFixed(2) ?? "?"}; labelled images (--knn-data) would tell how good the features are.`;
}

function nextOf(runDir: string): ReportData["next"] {
  const run = shellWord(runDir);
  return [
    { what: "Continue this run, or train it longer with --epochs.", command: `npx tricera train --out ${run} --resume` },
    {
      what: "Turn images into features with what was learned.",
      command: `npx tricera embed --model ${run} --data PHOTOS --out features.safetensors`,
    },
    {
      what: "Measure the features on labelled images (one folder a class).",
      command: `npx tricera eval knn --model ${run} --train LABELLED --test LABELLED`,
    },
  ];
}

export interface ReportSources {
  readonly resolved: ResolvedConfig;
  readonly list: DataList;
  readonly facts: Facts;
}

/** Everything the page shows. */
export async function assembleReport(runDir: string, { resolved, list, facts }: ReportSources): Promise<ReportData> {
  const { config, reasons } = resolved;
  const lines = await readMetrics(runDir);
  const lastStep = lines.reduce((most, { step }) => Math.max(most, step), 0);
  const dense = denseSection(lines);
  const neighbours = await neighbourSection(runDir, { config: watchedConfig(config), lastStep });
  return {
    title: `${METHOD_TITLES[config.method]} on ${list.entries.length.toLocaleString("en-US")} images`,
    verdict: verdictOf(lines),
    facts,
    alarms: await readAlarms(runDir),
    sections: [
      curveSection(lines, config),
      ...(dense === undefined ? [] : [dense]),
      ...(neighbours === undefined ? [] : [neighbours]),
      ...(await pictureSections(runDir, { list, config: watchedConfig(config), lastStep })),
    ],
    config: flatten(config).map(([key, value]) => [key, JSON.stringify(value), reasons[key] ?? ""] as const),
    next: nextOf(runDir),
  };
}

const METHOD_TITLES: { readonly [K in TrainConfig["method"]]: string } = {
  dino: "DINO",
  dinov2: "DINOv2",
  dinov3: "DINOv3",
  simclr: "SimCLR",
};

/** The report of a run that has ended. Throws ConfigError and FormatError when the folder is no run. */
export async function readReport(runDir: string): Promise<ReportData> {
  return assembleReport(runDir, {
    resolved: await readConfig(runDir),
    list: await readFrozenList(runDir),
    facts: await readFacts(runDir),
  });
}
