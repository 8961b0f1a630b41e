/**
 * @file Process start to the first feature of a ViT from a Hugging Face folder and a JPEG file, as a user's script does it.
 *
 *   npm run -s bench -- load --model DIR --photo FILE [--reps 5] [--peer VENV/bin/python]
 *
 * Each run is a new process: `import { loadModel } from "tricera"` (of `dist/`, so build first), the model, one picture, its class token.
 * The peer is `python bench/peers/load.py` (torch, transformers) on the same folder and file. With --peer both run in turn, timed by the
 * same clock from spawn to the printed feature; both print the first four numbers, which are compared. File caches are warm.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { timeUntil } from "./lib/time-until.ts";
import { median } from "./lib/timing.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    photo: { type: "string" },
    reps: { type: "string", default: "5" },
    peer: { type: "string" },
  },
});
const { model, photo, peer } = values;
if (model === undefined || photo === undefined) throw new Error("Cannot time loading: no --model or no --photo; give both");
const library = new URL("../dist/index.js", import.meta.url);
if (!existsSync(library)) throw new Error("Cannot time loading: dist/ is missing; run `npm run build` first");

/** What a user writes. */
const script = `
import { loadModel } from ${JSON.stringify(library.href)};
const model = await loadModel(process.argv[1]);
const { cls } = await model.embed(process.argv[2]);
console.log("feature", Array.from(cls.subarray(0, 4), (x) => x.toFixed(4)).join(" "));
`;

interface First {
  readonly ms: number;
  readonly feature: readonly number[];
}

async function timeFirst(command: string, args: readonly string[]): Promise<First> {
  const { ms, match } = await timeUntil(/^feature (.*)\n/m, command, args);
  return { ms, feature: (match[1] ?? "").split(" ").map(Number) };
}

const [ours, theirs]: [First[], First[]] = [[], []];
for (let i = 0; i < Number(values.reps); i++) {
  ours.push(await timeFirst(process.execPath, ["--input-type=module", "--eval", script, model, photo]));
  if (peer !== undefined)
    theirs.push(await timeFirst(peer, [fileURLToPath(new URL("peers/load.py", import.meta.url)), "--model", model, "--photo", photo]));
}
const runs = (firsts: readonly First[]): number[] => firsts.map(({ ms }) => Math.round(ms));
const [mine, his] = [ours[0]?.feature ?? [], theirs[0]?.feature ?? []];
const compared =
  peer === undefined
    ? {}
    : {
        peer_first_feature_ms: Math.round(median(runs(theirs))),
        peer_runs_ms: runs(theirs),
        ratio: Math.round((1000 * median(runs(ours))) / median(runs(theirs))) / 1000,
        largest_difference: Math.max(...mine.map((x, i) => Math.abs(x - (his[i] ?? NaN)))),
      };
console.log(JSON.stringify({ script: "load", first_feature_ms: Math.round(median(runs(ours))), runs_ms: runs(ours), ...compared }));
