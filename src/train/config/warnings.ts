/** @file What a configuration may do and had better not. */
import { METHOD_TITLES } from "./choose.ts";
import { n } from "./learning-facts.ts";
import { expectedMasked } from "./mask-counts.ts";
import { sizesOf } from "./memory.ts";
import { fedPrototypes } from "./rules-head.ts";
import type { RunFacts, TrainConfig } from "./types.ts";

/** DINOv2's masked patches and Sinkhorn-Knopp share a step's rows out evenly: prototypes beyond that are never a target. */
function tooManyPrototypes(config: TrainConfig, { images }: RunFacts): readonly string[] {
  const { head, objective, train, mask, crops, model, method, stage, distill } = config;
  if (method === "simclr" || distill.objective === "features" || objective.centering !== "sinkhorn") return [];
  const batch = train.batchSize * train.accumulate;
  const patches = Math.floor(crops.globalSizePx / model.patchSizePx) ** 2;
  const masked = Math.floor(expectedMasked(mask, { images: batch, patches }));
  const fed = fedPrototypes(2 * batch, images);
  const fedByPatches = fedPrototypes(masked, images);
  const raise = "raise train.batchSize or train.accumulate";
  const more = stage === "pretrain" ? `lower it, or ${raise}` : `it comes from the run before, so ${raise}`;
  return [
    ...(head.prototypes > fed
      ? [`head.prototypes ${n(head.prototypes)}: a step of ${n(batch)} images can feed about ${n(fed)}; ${more}`]
      : []),
    ...(objective.ibotWeight > 0 && head.ibotSeparate && head.ibotPrototypes > fedByPatches
      ? [
          `head.ibotPrototypes ${n(head.ibotPrototypes)}: about ${n(masked)} masked patches a step can feed about ${n(fedByPatches)}; ${more}`,
        ]
      : []),
  ];
}

function enlargedCrops(config: TrainConfig, { medianSidePx }: RunFacts): readonly string[] {
  if (config.stage === "pretrain") return [];
  const large = Math.max(...sizesOf(config).flatMap(({ globalSizePx, gramSizePx }) => [globalSizePx, gramSizePx]));
  return large > medianSidePx
    ? [`crops of ${large} px: the pictures' median side is ${n(medianSidePx)} px, so that they are enlarged and show no more`]
    : [];
}

function coldParent({ stage }: TrainConfig, { parent }: RunFacts): readonly string[] {
  if (stage === "highres" && parent !== undefined && parent.stage === "pretrain")
    return [
      `stage highres after stage pretrain: ${METHOD_TITLES.dinov3} repairs dense features in a Gram stage first; give its run by --init`,
    ];
  return [];
}

/** What is allowed and unwise, each with its numbers and what to do. */
export function listWarnings(config: TrainConfig, facts: RunFacts): readonly string[] {
  return [...tooManyPrototypes(config, facts), ...enlargedCrops(config, facts), ...coldParent(config, facts)];
}
