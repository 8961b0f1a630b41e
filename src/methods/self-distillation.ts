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
import { Builder, type Tensor } from "../engine/trace/index.ts";
import { backboneDepth, backboneState, type ParamSpec, prefixed, traceParams } from "../nn/index.ts";
import { BACKBONE, backboneParamSpecs, isAdaptedOnly } from "./backbone-params.ts";
import type { HeadedConfig, StepConfig } from "./config.ts";
import { globalsOf, TEACHER_CROPS } from "./crop-groups.ts";
import { forward, groupsLoss, passes, sum, wantsPatches } from "./group-loss.ts";
import { type Cut, crops, type Learner, type Method } from "./method.ts";
import type { Network, Objective } from "./objective.ts";
import { randomCuts, drawRandom } from "./random-inputs.ts";
import { StateThread } from "./state-thread.ts";

/** A method whose teacher is the student's own average. */
export function selfDistillation(name: string, config: HeadedConfig, objectives: readonly Objective[]): Method {
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
  config: StepConfig & Partial<HeadedConfig>,
  objectives: readonly Objective[],
  names: { readonly name: string; readonly follower: string },
): Learner {
  return {
    ...names,
    specs: [...backboneParamSpecs(config), ...objectives.flatMap(({ specs }) => specs)],
    depth: backboneDepth(config.backbone),
    isFrozen: (name) => (config.head?.normLastLayer === true && name.endsWith("last_layer.weight_g")) || isAdaptedOnly(config, name),
  };
}

/** Running statistics of batch norm in a network: backbone and heads. */
export function networkState({ backbone }: Pick<StepConfig, "backbone">, objectives: readonly Objective[]): ParamSpec[] {
  return [...prefixed(backboneState(backbone), BACKBONE), ...objectives.flatMap((o) => o.headState)];
}

/**
 * The teacher on one micro-batch of global crops; class tokens of a moving one are given out for monitors. A moving teacher's batch norm takes the
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
  if (!isFrozen) builder.output("features", globals.cls);
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

interface StudentOptions {
  readonly learner: Learner;
  /** Gradients so far come in as `running.*`. */
  readonly running: boolean;
  /** Goes before reported names. */
  readonly label?: string;
  /** Class tokens of the global crops are given out for monitors: those of a frozen teacher would show nothing. */
  readonly isWatched?: boolean;
}

/** The student's loss and gradients for one micro-batch. */
export function traceStudent(
  config: StepConfig,
  objectives: readonly Objective[],
  { learner, running, label = "", isWatched = false }: StudentOptions,
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
    const loss = groupsLoss(config, objectives, { groups, network, label, isWatched });
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
