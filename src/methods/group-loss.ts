/** @file One network on one or several groups of crops: its features, and the share of the loss that objectives make of them. */
import { add, mul, type Tensor } from "../engine/trace/index.ts";
import { backboneFeatures } from "../nn/index.ts";
import { BACKBONE, backboneParams } from "./backbone-params.ts";
import type { StepConfig } from "./config.ts";
import { type CropGroup, cropGroups } from "./crop-groups.ts";
import type { Group, Network, Objective, View } from "./objective.ts";
import { randomInputs } from "./random-inputs.ts";

/** Groups that run together: each alone, or all where batch norm joins their rows. */
export function passes(config: StepConfig, objectives: readonly Objective[]): CropGroup[][] {
  const groups = cropGroups(config);
  return objectives.some(({ joinsGroups }) => joinsGroups) ? [groups] : groups.map((g) => [g]);
}

interface GroupsOptions {
  readonly groups: readonly CropGroup[];
  readonly network: Network;
  /** Goes before reported names. */
  readonly label: string;
  /** Class tokens of the global crops are given out. */
  readonly isWatched: boolean;
}

/** The share of the loss of some resolution groups. */
export function groupsLoss(
  config: StepConfig,
  objectives: readonly Objective[],
  { groups, network, label, isWatched }: GroupsOptions,
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
  for (const { isGlobal, cls } of found) if (isWatched && isGlobal) builder.output("features", cls);
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
export function forward(step: StepConfig, group: CropGroup, { network, region, wantsPatches: patches, view }: ForwardOptions): Group {
  const { builder, params, b, state } = network;
  const { backbone: config } = step;
  const images = builder.input(group.name, [group.count * b, config.channels ?? 3, group.sizePx, group.sizePx]);
  const features = builder.inRegion(region, () =>
    backboneFeatures(backboneParams(step, params), images, { config, patches, ...state.options(BACKBONE), ...view }),
  );
  return { ...group, ...features };
}

/** Whether patch tokens of the global crops are wanted by any. */
export function wantsPatches(objectives: readonly Objective[]): boolean {
  return objectives.some((o) => o.wantsPatches);
}

/** The sum of one tensor or several. */
export function sum(xs: readonly Tensor[]): Tensor {
  return xs.reduce((x, y) => add(x, y));
}
