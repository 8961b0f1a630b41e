/** @file The words of a run's report that differ by method and stage: title, facts, verdict, and what to do next. */
import { percent, type ReportData, shellWord } from "../../views/index.ts";
import type { TrainConfig } from "../config/index.ts";
import type { MetricsLine } from "../run/index.ts";
import { pointsOf } from "./curves.ts";

type Facts = ReportData["facts"];

const METHOD_TITLES: { readonly [K in TrainConfig["method"]]: string } = {
  dino: "DINO",
  dinov2: "DINOv2",
  dinov3: "DINOv3",
  simclr: "SimCLR",
};

const STAGE_TITLES: { readonly [K in TrainConfig["stage"]]: string } = {
  pretrain: "",
  gram: ", Gram stage",
  highres: ", high-resolution stage",
};

/** Whose features the report looks at: the teacher's, or with a frozen teacher the first student's. */
export function watchedName({ distill: { students } }: Pick<TrainConfig, "distill">): string {
  const [first] = students;
  if (first === undefined) return "the teacher";
  return students.length === 1 ? `the student ${first.name}` : `${first.name} (the first student)`;
}

const studentNames = ({ distill: { students } }: TrainConfig): string => students.map(({ name }) => name).join(", ");

/** `DINOv3, Gram stage, on 1,000 images`. */
export function titleOf(config: TrainConfig, images: number): string {
  const method = METHOD_TITLES[config.method];
  const counted = `${images.toLocaleString("en-US")} images`;
  const { length } = config.distill.students;
  if (length === 0) return `${method}${STAGE_TITLES[config.stage]}${config.stage === "pretrain" ? "" : ","} on ${counted}`;
  const taught = config.distill.objective === "features" ? "Features of a frozen teacher" : method;
  return `${taught}, distilled into ${length === 1 ? studentNames(config) : `${length} students`} on ${counted}`;
}

/** The stored facts, with the networks of a distillation by their parts. */
export function factsWith(config: TrainConfig, facts: Facts): Facts {
  const { students } = config.distill;
  const from = config.init.from === null ? [] : [["Goes on from", config.init.from] as const];
  if (students.length === 0) return [...facts, ...from];
  const others = facts.filter(([name]) => name !== "Model");
  const { teacher, objective } = config.distill;
  return [
    ["Teacher", objective === "features" ? (teacher ?? "") : config.model.arch],
    [students.length === 1 ? "Student" : "Students", studentNames(config)],
    ...others,
    ...from,
  ];
}

/** `from 30.0 % before training to 41.0 % after 600 steps`; undefined for fewer than two looks. */
function courseOf(lines: readonly MetricsLine[], name: string): string | undefined {
  const looks = pointsOf(lines, name);
  const [first, last] = [looks[0], looks.at(-1)];
  if (first === undefined || last === undefined || last[0] <= first[0]) return undefined;
  const before = first[0] === 0 ? "before training" : `at step ${first[0].toLocaleString("en-US")}`;
  return `from ${percent(first[1])} ${before} to ${percent(last[1])} after ${last[0].toLocaleString("en-US")} steps`;
}

/** What a reader should take from the run. */
export function verdictOf(lines: readonly MetricsLine[], config: TrainConfig): string {
  const [images, patches] = [courseOf(lines, "knnTop1"), courseOf(lines, "dense.patchTop1")];
  const whose = config.distill.students.length === 0 ? "" : ` of ${watchedName(config)}`;
  const said = [
    ...(images === undefined ? [] : [`k-NN accuracy${whose} went ${images}.`]),
    ...(patches === undefined ? [] : [`Patch k-NN went ${patches}.`]),
  ];
  if (said.length > 0) return said.join(" ");
  const loss = pointsOf(lines, "loss");
  const from = loss[0]?.[1].toFixed(2) ?? "?";
  return `The loss went from ${from} to ${loss.at(-1)?.[1].toFixed(2) ?? "?"}; labelled images (--knn-data) would tell how good the features are.`;
}

type Next = ReportData["next"];

/** Stages that may follow this one. */
function stagesAfter({ method, stage, distill }: TrainConfig, run: string): Next {
  if (method !== "dinov3" || distill.students.length > 0 || stage === "highres") return [];
  const to = stage === "pretrain" ? "gram" : "highres";
  const what = to === "gram" ? "Repair dense features: the Gram stage." : "Train on at higher resolutions.";
  return [{ what, command: `npx tricera train --method dinov3 --stage ${to} --init ${run} --out NEXT` }];
}

/** Commands to go on with. */
export function nextOf(runDir: string, config: TrainConfig): Next {
  const run = shellWord(runDir);
  const { students } = config.distill;
  const models = students.length === 0 ? [run] : students.map(({ name }) => shellWord(`${runDir}/exported/${name}/last`));
  const longer = students.length > 0 ? [] : [{ what: "Train longer from its weights, in a new run.", command: longerOf(run, config) }];
  return [
    { what: "Go on with this run, where it was cut off.", command: `npx tricera train --out ${run} --resume` },
    ...longer,
    ...stagesAfter(config, run),
    {
      what: "Turn images into features with what was learned.",
      command: models.map((model) => `npx tricera embed --model ${model} --data PHOTOS --out features.safetensors`).join("\n"),
    },
    {
      what: "Measure the features on labelled images (one folder a class).",
      command: models.map((model) => `npx tricera eval knn --model ${model} --train LABELLED --test LABELLED`).join("\n"),
    },
    {
      what: "Measure patch features on images with masks.",
      command: models.map((model) => `npx tricera eval patch-knn --model ${model} --train MASKED --test MASKED`).join("\n"),
    },
  ];
}

function longerOf(run: string, { method }: TrainConfig): string {
  return `npx tricera train --method ${method} --init ${run} --data PHOTOS --out LONGER`;
}
