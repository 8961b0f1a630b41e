/** @file The curves of a run's report, from its lines of metrics. */
import type { Block, ChartOptions, ReportSection, Series } from "../../views/index.ts";
import type { TrainConfig } from "../config/index.ts";
import type { MetricsLine } from "../run/index.ts";

type Points = Series["points"];

/** Steps and values of one metric; NaN where the run wrote that a value was none. */
export function pointsOf(lines: readonly MetricsLine[], name: string): Points {
  return lines.flatMap((line): Points => {
    const value = line[name];
    if (typeof value === "number") return [[line.step, value]];
    return typeof value === "string" ? [[line.step, NaN]] : [];
  });
}

type Draw = (title: string, names: Readonly<Record<string, string>>, more?: Omit<ChartOptions, "title" | "series">) => ChartOptions;

/** k-NN of the teacher, or of each student. */
function knnNames({ students }: TrainConfig["distill"]): Readonly<Record<string, string>> {
  const [first, ...others] = students;
  if (first === undefined) return { knnTop1: "top-1" };
  return { knnTop1: first.name, ...Object.fromEntries(others.map(({ name }) => [`knnTop1.${name}`, name])) };
}

interface Learnt {
  /** The loss of uniform distributions. */
  readonly uniform: number;
  readonly distill: TrainConfig["distill"];
}

/** How far each student is from its teacher's features. */
function distances({ students }: TrainConfig["distill"]): Readonly<Record<string, string>> {
  const terms = { cls: "pictures", locals: "small crops", patches: "patches" };
  const whose = (name: string): string => (students.length === 1 ? "" : `${name}: `);
  const named = students.flatMap(({ name }) =>
    Object.entries(terms).map(([term, what]) => [`loss.${name}.${term}`, whose(name) + what] as const),
  );
  return Object.fromEntries(named);
}

function learning(draw: Draw, { uniform, distill }: Learnt): readonly ChartOptions[] {
  const knn = draw("k-NN top-1", knnNames(distill), {
    format: "percent",
    text: "Labelled images classified by their neighbours: the best sign of good features.",
  });
  if (distill.objective === "features")
    return [
      draw("Loss", { loss: "total" }, { text: "Of all students together.", fromZero: true }),
      draw("Distance to the teacher", distances(distill), {
        text: "1 − cosine of class and patch tokens to the teacher's: 0 is the same direction, 1 none in common.",
        fromZero: true,
      }),
      knn,
    ];
  return [
    draw(
      "Loss",
      {
        loss: "total",
        "loss.globals": "globals",
        "loss.locals": "locals",
        "loss.ibot": "masked patches",
        "loss.koleo": "KoLeo",
        "loss.gram": "Gram",
        "loss.simclr": "SimCLR",
      },
      {
        unit: "nats",
        text: "Falls slowly and may rise while the teacher sharpens: read it together with KL.",
        levels: [{ y: uniform, name: "ln K: uniform" }],
      },
    ),
    draw("KL of student to teacher", { kl: "KL" }, { unit: "nats", text: "What the student has left to learn of the teacher." }),
    knn,
  ];
}

function health(draw: Draw, { uniform, distill }: Learnt): readonly ChartOptions[] {
  return distill.objective === "features" ? spread(draw) : [...ofPrototypes(draw, uniform), ...spread(draw)];
}

function ofPrototypes(draw: Draw, uniform: number): readonly ChartOptions[] {
  return [
    draw(
      "Entropy",
      {
        teacherEntropy: "teacher",
        targetEntropy: "targets",
        patchTeacherEntropy: "teacher, patches",
        patchTargetEntropy: "targets, patches",
      },
      {
        unit: "nats",
        text: "0: certain of one prototype; at ln K: uniform. Both ends are collapse.",
        levels: [{ y: uniform, name: "ln K" }],
        fromZero: true,
      },
    ),
    draw(
      "Prototypes in use",
      { prototypeUsage: "used" },
      { format: "percent", text: "Share of those that a batch could choose.", fromZero: true },
    ),
  ];
}

function spread(draw: Draw): readonly ChartOptions[] {
  return [
    draw(
      "Feature spread",
      { featureStd: "spread" },
      { text: "1: spread evenly over the sphere; 0: all images look alike.", levels: [{ y: 1, name: "even" }], fromZero: true },
    ),
    draw(
      "Effective rank",
      { effectiveRank: "rank" },
      { unit: "dimensions", text: "Directions the features of a batch fill; a fall to a few is collapse.", fromZero: true },
    ),
    draw("Gradient norm", { gradNorm: "norm" }, { text: "Before clipping. Spikes with a rising loss: lower optim.lr.", fromZero: true }),
  ];
}

function schedules(draw: Draw): readonly ChartOptions[] {
  return [
    draw("Learning rate", { lr: "rate" }),
    draw("Weight decay", { weightDecay: "decay" }),
    draw("Teacher momentum", { emaMomentum: "momentum" }),
    draw("Teacher temperature", { teacherTemp: "temperature" }),
    draw("Speed", { imagesPerSecond: "images" }, { unit: "images/s", fromZero: true }),
    draw("Time of a step", { stepMs: "step" }, { unit: "ms", fromZero: true }),
  ];
}

/** Learning, health, and (folded away) schedules and speed. */
export function curveSection(lines: readonly MetricsLine[], { head, distill }: TrainConfig): ReportSection {
  const draw: Draw = (title, names, more = {}) => ({
    title,
    ...more,
    // a method draws what it has
    series: Object.entries(names)
      .map(([key, name]) => ({ name, points: pointsOf(lines, key) }))
      .filter(({ points }, i) => i === 0 || points.length > 0),
  });
  const uniform = Math.log(head.prototypes);
  const blocks: readonly Block[] = [
    { kind: "charts", charts: [...learning(draw, { uniform, distill }), ...health(draw, { uniform, distill })] },
    { kind: "details", summary: "Schedules and speed", blocks: [{ kind: "charts", charts: schedules(draw) }] },
  ];
  return { title: "Along the run", text: "Point at a chart to read its values at a step.", blocks };
}
