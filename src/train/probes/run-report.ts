/** @file A run's report as data, from nothing but what the run folder holds. */
import { appendFileSync, mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type DataList, readFrozenList } from "../../data/index.ts";
import type { ReportData } from "../../views/index.ts";
import { writeFileAtomic } from "../../weights/index.ts";
import { flatten, type ResolvedConfig } from "../config/index.ts";
import { watchedConfig } from "../loop/networks.ts";
import { readConfig } from "../loop/prepare.ts";
import { readMetrics } from "../run/index.ts";
import { curveSection } from "./curves.ts";
import { denseSection } from "./patch-section.ts";
import { neighbourSection } from "./neighbour-section.ts";
import { pictureSections } from "./picture-sections.ts";
import { factsWith, nextOf, titleOf, verdictOf } from "./report-words.ts";
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
  const dense = denseSection(lines, config);
  const neighbours = await neighbourSection(runDir, { config: watchedConfig(config), lastStep });
  return {
    title: titleOf(config, list.entries.length),
    verdict: verdictOf(lines, config),
    facts: factsWith(config, facts),
    alarms: await readAlarms(runDir),
    sections: [
      curveSection(lines, config),
      ...(dense === undefined ? [] : [dense]),
      ...(neighbours === undefined ? [] : [neighbours]),
      ...(await pictureSections(runDir, { list, config: watchedConfig(config), lastStep })),
    ],
    config: flatten(config).map(([key, value]) => [key, JSON.stringify(value), reasons[key] ?? ""] as const),
    next: nextOf(runDir, config),
  };
}

/** The report of a run that has ended. Throws ConfigError and FormatError when the folder is no run. */
export async function readReport(runDir: string): Promise<ReportData> {
  return assembleReport(runDir, {
    resolved: await readConfig(runDir),
    list: await readFrozenList(runDir),
    facts: await readFacts(runDir),
  });
}
