/**
 * @file One DINOv3 step (DINO + iBOT + KoLeo + Gram anchoring) on random tensors; the twin of a PyTorch + lightly script.
 *
 *   npm run -s bench -- dinov3-step --batch 8 [--no-gram] [--reps 5] [--threads 2] [--checkpointing] [--profile]
 *
 * ViT-S/16 with rotary positions and four registers, 2×224 + 8×96 crops, else as dinov2-step. The Gram teacher is a frozen earlier model
 * and sees the global crops at the same resolution; its loss, the mean over all pairs of patches of each crop, weighs 2. As the peer, DINO
 * has weight 1 on local crops, heads are weight-normed, positions are not augmented, and targets are centred, not balanced by
 * Sinkhorn-Knopp: there the published method differs. What is mirrored, and what is not, stands in lib/peer-configs.ts.
 * For a trial: --model tiny (width 192) and --outputs N; --profile writes to stderr where the time went, region by region.
 */
import { parseArgs } from "node:util";
import { dinov3 } from "../src/methods/index.ts";
import { oneOf, readStepOptions, STEP_OPTIONS, wholeNumber } from "./lib/options.ts";
import { dinov3Peer, PEER_MODELS, PEER_SCALARS } from "./lib/peer-configs.ts";
import { benchStep } from "./lib/step-bench.ts";

const { values } = parseArgs({
  options: {
    ...STEP_OPTIONS,
    "no-gram": { type: "boolean", default: false },
    model: { type: "string", default: "small" },
    outputs: { type: "string", default: "65536" },
  },
});
const run = readStepOptions(values);
const model = oneOf("--model", values.model, PEER_MODELS);
const outputs = wholeNumber("--outputs", values.outputs);
const gram = !values["no-gram"];
const config = dinov3Peer({ model, batch: run.batch, outputs, gram });

await benchStep({
  script: "dinov3-step",
  model: `vit_${model}_patch16_dinov3`,
  fields: { gram },
  run,
  method: dinov3(config),
  config,
  scalars: PEER_SCALARS,
});
