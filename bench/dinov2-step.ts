/**
 * @file One DINOv2 step (DINO + iBOT + KoLeo) on random tensors; the twin of a PyTorch + lightly script.
 *
 *   npm run -s bench -- dinov2-step [--reg] --batch 8 [--reps 5] [--threads 2] [--checkpointing] [--profile]
 *
 * ViT-S/14, 2×224 + 8×98 crops, separate DINO and iBOT heads of 65,536 outputs, block masks on half of the global crops (.1 to .5 of
 * their patches), centres for both targets, KoLeo .1 over each global crop, LayerScale, no drop path, one clip of all gradients at 3.
 * --reg: four registers. What is mirrored, and what is not, stands in lib/peer-configs.ts.
 * For a trial: --model tiny (width 192) and --outputs N; --profile writes to stderr where the time went, region by region.
 */
import { parseArgs } from "node:util";
import { dinov2 } from "../src/methods/index.ts";
import { oneOf, readStepOptions, STEP_OPTIONS, wholeNumber } from "./lib/options.ts";
import { dinov2Peer, PEER_MODELS, PEER_SCALARS } from "./lib/peer-configs.ts";
import { benchStep } from "./lib/step-bench.ts";

const { values } = parseArgs({
  options: {
    ...STEP_OPTIONS,
    reg: { type: "boolean", default: false },
    model: { type: "string", default: "small" },
    outputs: { type: "string", default: "65536" },
  },
});
const run = readStepOptions(values);
const model = oneOf("--model", values.model, PEER_MODELS);
const outputs = wholeNumber("--outputs", values.outputs);
const config = dinov2Peer({ model, batch: run.batch, outputs, registers: values.reg });

await benchStep({
  script: "dinov2-step",
  model: `vit_${model}_patch14_${values.reg ? "reg4_" : ""}dinov2`,
  run,
  method: dinov2(config),
  config,
  scalars: PEER_SCALARS,
});
