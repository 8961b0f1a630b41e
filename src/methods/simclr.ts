/**
 * @file SimCLR (Chen et al. 2020), the control: two views of an image are to be told from all other images' views. No teacher takes part;
 * the student's moving average is kept all the same, so that runs compare.
 */
import { gelu, reshape } from "../engine/trace/index.ts";
import { backboneWidth, linear, linearSpecs, scoped } from "../nn/index.ts";
import { simclrLoss } from "../objectives/index.ts";
import type { HeadedConfig } from "./config.ts";
import { TEACHER_CROPS } from "./crop-groups.ts";
import type { Method } from "./method.ts";
import { NOTHING, type Objective } from "./objective.ts";
import { selfDistillation } from "./self-distillation.ts";

export interface SimclrConfig extends HeadedConfig {
  readonly objective: { readonly temperature: number };
}

const HEAD = "simclr_head.";

/** SimCLR as a method: the student's part alone, on the two global crops. */
export function simclr(config: SimclrConfig): Method {
  const method = selfDistillation("simclr", { ...config, crops: { ...config.crops, localCount: 0 } }, [simclrObjective(config)]);
  return { ...method, parts: method.parts.filter(({ learner }) => learner !== undefined) };
}

/** NT-Xent over the views of a micro-batch, behind a projection of two layers. SimCLR §2.1, eq. 1. */
function simclrObjective({ backbone, head, objective, batchSize }: SimclrConfig): Objective {
  return {
    ...NOTHING,
    name: "simclr",
    specs: [
      ...linearSpecs(`${HEAD}mlp.0`, { in: backboneWidth(backbone), out: head.hidden }),
      ...linearSpecs(`${HEAD}mlp.2`, { in: head.hidden, out: head.bottleneck }),
    ],
    student(groups, { builder, params, b }) {
      const [globals] = groups;
      if (globals === undefined) return [];
      const layer = (i: number): ReturnType<typeof scoped> => scoped(params, `${HEAD}mlp.${i}.`);
      const z = linear(layer(2), gelu(linear(layer(0), globals.cls)));
      builder.output("features", globals.cls);
      const loss = simclrLoss(reshape(z, [TEACHER_CROPS, b, head.bottleneck]), { temperature: objective.temperature });
      return [{ name: "simclr", value: loss, weight: b / batchSize }];
    },
  };
}
