/**
 * @file Self-distillation as three traced parts of one step, whatever the objectives:
 *
 *   teacher   the averaged network on the global crops of a micro-batch
 *   targets   what the student is held to, made over the whole batch
 *   student   every resolution group forward and backward before the next one starts, adding to the gradients of the one before
 *             (contracts 3, 6)
 *
 * The optimizer then moves the student and the teacher follows it by an exponential moving average.
 */
import { gradients } from "../engine/grad/index.ts";
import type { Graph } from "../engine/ir/index.ts";
import { add, Builder, mul, type Tensor } from "../engine/trace/index.ts";
import { backboneDepth, backboneFeatures, backboneState, type ParamSpec, prefixed, traceParams } from "../nn/index.ts";
import { BACKBONE, backboneParams, backboneParamSpecs, isAdaptedOnly } from "./backbone-params.ts";
import type { StepConfig } from "./config.ts";
import { type CropGroup, cropGroups, globalsOf, TEACHER_CROPS } from "./crop-groups.ts";
import { type Cut, crops, type Learner, type Method } from "./method.ts";
import type { Group, Network, Objective, View } from "./objective.ts";
import { randomCuts, randomInputs, drawRandom } from "./random-inputs.ts";
import { StateThread } from "./state-thread.ts";

/** A method whose teacher is the student's own average. */
export function selfDistillation(name: string, config: StepConfig, objectives: readonly Objective[]): Method {
  const learner = learnerOf(config, objectives, { name: "student", follower: "teacher" });
  return {
    name,
    batchSize: config.batchSize,
    microBatchSize: config.microBatchSize,
    learners: [learner],
    fixed: [],
    state: [
      ...objectives.flatMap(({ state }) => state),
      ...["student.", "teacher."].flatMap((who) => prefixed(networkState(config, objectives), who)),
    ],
    parts: [
      { name: "teacher", per: "micro", trace: () => traceTeacher(config, objectives, { name: "teacher", specs: learner.specs }) },
      { name: "targets", per: "batch", trace: () => traceTargets(objectives) },
      {
        name: "student",
        per: "micro",
        learner: learner.name,
        trace: ({ running }) => traceStudent(config, objectives, { learner, running }),
      },
    ],
    cuts: new Map(cutsOf(config, objectives)),
    draw: (options) => new Map([...drawRandom(config, options), ...objectives.flatMap(({ draw }) => [...draw(options)])]),
  };
}

/** How the values of a step are cut. */
export function cutsOf(config: StepConfig, objectives: readonly Objective[]): (readonly [string, Cut])[] {
  return [
    ["globals", crops(TEACHER_CROPS)],
    ["locals", crops(config.crops.localCount)],
    ...randomCuts(config),
    ...objectives.flatMap(({ cuts }) => cuts),
  ];
}

/** Backbone and heads of a trained network, by name. */
export function learnerOf(
  config: StepConfig,
  objectives: readonly Objective[],
  names: { readonly name: string; readonly follower: string },
): Learner {
  return {
    ...names,
    specs: [...backboneParamSpecs(config), ...objectives.flatMap(({ specs }) => specs)],
    depth: backboneDepth(config.backbone),
    isFrozen: (name) => (config.head.normLastLayer && name.endsWith("last_layer.weight_g")) || isAdaptedOnly(config, name),
  };
}

/** Running statistics of batch norm in a network: backbone and heads. */
export function networkState({ backbone }: Pick<StepConfig, "backbone">, objectives: readonly Objective[]): ParamSpec[] {
  return [...prefixed(backboneState(backbone), BACKBONE), ...objectives.flatMap((o) => o.headState)];
}

/**
 * The teacher on one micro-batch of global crops; its class tokens are given out for monitors. A moving teacher's batch norm takes the
 * statistics of the batch (DINO spec §1.1), a frozen one's those that it was trained to (spec §3.9).
 */
export function traceTeacher(
  config: StepConfig,
  objectives: readonly Objective[],
  { name, specs, isFrozen = false }: { readonly name: string; readonly specs: readonly ParamSpec[]; readonly isFrozen?: boolean },
): Graph {
  const { microBatchSize: b } = config;
  const builder = new Builder();
  const network: Network = {
    builder,
    b,
    params: traceParams(builder, specs, { prefix: `${name}.` }),
    state: new StateThread(builder, networkState(config, objectives), { prefix: `${name}.`, readOnly: isFrozen }),
  };
  const globals = forward(config, globalsOf(config), { network, region: "teacher", wantsPatches: wantsPatches(objectives), view: {} });
  builder.output("features", globals.cls);
  for (const objective of objectives) builder.inRegion(`teacher/${objective.name}`, () => objective.teacher(globals, network));
  network.state.finish();
  return builder.graph();
}

/** Every objective's targets for the whole batch. */
export function traceTargets(objectives: readonly Objective[]): Graph {
  const builder = new Builder();
  const temp = builder.input("teacherTemp", []);
  for (const objective of objectives) builder.inRegion(`targets/${objective.name}`, () => objective.targets(builder, temp));
  return builder.graph();
}

/** The student's loss and gradients for one micro-batch. With `running`, gradients so far come in as `running.*`; `label` goes before reported names. */
export function traceStudent(
  config: StepConfig,
  objectives: readonly Objective[],
  { learner, running, label = "" }: { readonly learner: Learner; readonly running: boolean; readonly label?: string },
): Graph {
  const builder = new Builder();
  const network: Network = {
    builder,
    b: config.microBatchSize,
    params: traceParams(builder, learner.specs, { prefix: `${learner.name}.` }),
    state: new StateThread(builder, networkState(config, objectives), { prefix: `${learner.name}.` }),
  };
  const trained = learner.specs.filter((s) => !learner.isFrozen(s.name));
  const wrt = trained.map((s) => network.params(s.name));
  let grads: (Tensor | undefined)[] = running ? trained.map((s) => builder.input(`running.${s.name}`, s.shape)) : [];
  const losses: Tensor[] = [];
  for (const groups of passes(config, objectives)) {
    const loss = groupsLoss(config, objectives, { groups, network, label });
    grads = gradients(loss, wrt, { running: grads });
    losses.push(loss);
  }
  builder.inRegion("loss", () => builder.output("loss", sum(losses)));
  trained.forEach((s, i) => {
    const g = grads[i];
    if (g !== undefined) builder.output(s.name, g, "grad");
  });
  network.state.finish();
  return builder.graph();
}

/** Groups that run together: each alone, or all where batch norm joins their rows. */
function passes(config: StepConfig, objectives: readonly Objective[]): CropGroup[][] {
  const groups = cropGroups(config);
  return objectives.some(({ joinsGroups }) => joinsGroups) ? [groups] : groups.map((g) => [g]);
}

/** The share of the loss of some resolution groups. */
function groupsLoss(
  config: StepConfig,
  objectives: readonly Objective[],
  { groups, network, label }: { readonly groups: readonly CropGroup[]; readonly network: Network; readonly label: string },
): Tensor {
  const { builder } = network;
  const found = groups.map((group) =>
    forward(config, group, {
      network,
      region: group.name,
      wantsPatches: group.isGlobal && wantsPatches(objectives),
      view: {
        isLocal: !group.isGlobal,
        ...randomInputs(builder, config, group),
        ...objectives.reduce<View>((joined, { view }) => ({ ...joined, ...view(group, network) }), {}),
      },
    }),
  );
  const region = groups.map(({ name }) => name).join("+");
  const terms = objectives.flatMap((objective) => builder.inRegion(`${region}/${objective.name}`, () => objective.student(found, network)));
  return builder.inRegion(`${region}/loss`, () => {
    for (const { name, value } of terms) builder.output(`loss.${label}${name}`, value);
    return sum(terms.map(({ value, weight = 1 }) => (weight === 1 ? value : mul(value, weight))));
  });
}

interface ForwardOptions {
  readonly network: Network;
  readonly region: string;
  readonly wantsPatches: boolean;
  readonly view: View;
}

/** The backbone on one group's crops. */
function forward(step: StepConfig, group: CropGroup, { network, region, wantsPatches: patches, view }: ForwardOptions): Group {
  const { builder, params, b, state } = network;
  const { backbone: config } = step;
  const images = builder.input(group.name, [group.count * b, config.channels ?? 3, group.sizePx, group.sizePx]);
  const features = builder.inRegion(region, () =>
    backboneFeatures(backboneParams(step, params), images, { config, patches, ...state.options(BACKBONE), ...view }),
  );
  return { ...group, ...features };
}

function wantsPatches(objectives: readonly Objective[]): boolean {
  return objectives.some((o) => o.wantsPatches);
}

function sum(xs: readonly Tensor[]): Tensor {
  return xs.reduce((x, y) => add(x, y));
}
