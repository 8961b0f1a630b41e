/**
 * @file What Gram anchoring adds to a DINOv3 step, against the one forward pass without gradient that it needs.
 *
 *   npm run -s bench -- gram-cost --batch 4 [--reps 5] [--threads 2] [--checkpointing] [--profile]
 *
 * Times the step of dinov3-step with and without Gram anchoring in turn, in one process, with the same sizes. A step without has a teacher's
 * forward of the global crops; the Gram teacher's is the same pass once more, so what it must cost is known without running it:
 *
 *   predicted_ratio        1 + extra_forwards · (time of the teacher's backbone in the step without) / (time of the step without)
 *   predicted_flops_ratio  the same with operations of matrix products instead of times
 *   measured_ratio         (time of the step with) / (time of the step without)
 *   measured_cpu_ratio     the same of CPU time, region by region: it says something on a machine that is not idle, too
 *   extra_over_forwards    (what the step with takes more) / (time of the extra forwards): 1.1 is a tenth more than they need
 *
 * The Gram loss itself, forward and backward, is what may come on top. Two networks with all their numbers are in memory at once.
 */
import { parseArgs } from "node:util";
import { openCpu } from "../src/engine/runtime/index.ts";
import { dinov3 } from "../src/methods/index.ts";
import { MethodStep } from "./lib/method-step.ts";
import { oneOf, readStepOptions, STEP_OPTIONS, wholeNumber } from "./lib/options.ts";
import { dinov3Peer, PEER_MODELS, PEER_SCALARS } from "./lib/peer-configs.ts";
import { Profile, type ProfileRow, showProfile } from "./lib/profile.ts";
import { interleave, round } from "./lib/timing.ts";

/** The Gram teacher on the global crops, without gradient. */
const EXTRA_FORWARDS = 1;
/** The same pass in the step without Gram anchoring. */
const TEACHER_BACKBONE = /^teacher\/(embed|blocks|norm)$/;

const { values } = parseArgs({
  options: { ...STEP_OPTIONS, model: { type: "string", default: "small" }, outputs: { type: "string", default: "65536" } },
});
const { batch, reps, threads, checkpointing, profile } = readStepOptions(values);
const model = oneOf("--model", values.model, PEER_MODELS);
const outputs = wholeNumber("--outputs", values.outputs);

/** The step with or without Gram anchoring, and where its time goes. */
function open(gram: boolean): { readonly step: MethodStep; readonly profile: Profile; readonly run: () => Promise<void> } {
  const config = dinov3Peer({ model, batch, outputs, gram });
  const watched = new Profile();
  const step = new MethodStep({ device: watched.watch(device), method: dinov3(config), config, scalars: PEER_SCALARS, checkpointing });
  return { step, profile: watched, run: () => watched.step(() => step.run()) };
}

using device = openCpu({ threads });
const [without, withGram] = [open(false), open(true)];
await using _without = without.step;
await using _withGram = withGram.step;
const results = await interleave({ without: without.run, with: withGram.run }, reps);

const [rows, gramRows] = [without.profile.rows(), withGram.profile.rows()];
const sum = (of: readonly ProfileRow[], key: "wallMs" | "cpuMs" | "flops"): number => of.reduce((total, row) => total + row[key], 0);
const forward = rows.filter(({ name }) => TEACHER_BACKBONE.test(name));
const [plainMs, gramMs] = [results.without.median_ms, results.with.median_ms];
const extraMs = EXTRA_FORWARDS * sum(forward, "wallMs");
console.log(
  JSON.stringify({
    script: "gram-cost",
    model: `vit_${model}_patch16_dinov3`,
    batch,
    outputs,
    threads,
    results,
    extra_forwards: EXTRA_FORWARDS,
    forward_ms: round(sum(forward, "wallMs")),
    predicted_ratio: round(1 + extraMs / plainMs, 4),
    predicted_flops_ratio: round(1 + (EXTRA_FORWARDS * sum(forward, "flops")) / sum(rows, "flops"), 4),
    measured_ratio: round(gramMs / plainMs, 4),
    measured_cpu_ratio: round(sum(gramRows, "cpuMs") / sum(rows, "cpuMs"), 4),
    extra_over_forwards: round((gramMs - plainMs) / extraMs, 3),
  }),
);
if (profile) process.stderr.write(`without\n${showProfile(rows)}with\n${showProfile(gramRows)}`);
