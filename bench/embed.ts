/**
 * @file JPEG files to class tokens, ViT-S/14 at 224 px, f32: images a second, alone or in turn with the peers.
 *
 *   npm run -s bench -- embed --model DIR --photos DIR [--images 64] [--image-size PX] [--batch 4] [--reps 5] [--threads 2]
 *   npm run -s bench -- embed --model DIR --photos DIR --peer VENV/bin/python --peers DIR [--js DIR --onnx MODELS/NAME] [--rounds 3]
 *
 * A run lists nothing and opens nothing: the model is loaded and warm, as in the peers (`embed.py`, `embed.mjs`); it decodes, resizes, cuts,
 * normalises, embeds, and writes the table. With --peer every round starts each side once in a new process, ours first, and every side's
 * figure is the median of its own repetitions; the ratios are medians over the rounds. --js is a folder with `embed.mjs` and its packages.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { listData } from "../src/data/index.ts";
import { extractFeatures } from "../src/features/extract.ts";
import { openSession } from "../src/features/session.ts";
import { wholeNumber } from "./lib/options.ts";
import { median, peakRssMb, round } from "./lib/timing.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    photos: { type: "string" },
    images: { type: "string", default: "64" },
    batch: { type: "string", default: "4" },
    reps: { type: "string", default: "5" },
    threads: { type: "string", default: "2" },
    "image-size": { type: "string" },
    rounds: { type: "string", default: "3" },
    peer: { type: "string" },
    peers: { type: "string" },
    js: { type: "string" },
    onnx: { type: "string" },
  },
});
const { model, photos, peer, peers, js, onnx } = values;
if (model === undefined || photos === undefined) throw new Error("Cannot time embedding: no --model or no --photos; give both");

interface Line {
  readonly images_per_s: number | Readonly<Record<string, number>>;
}

async function runOurs(modelPath: string, folder: string): Promise<void> {
  const [images, batchSize, reps, threads] = [
    wholeNumber("--images", values.images),
    wholeNumber("--batch", values.batch),
    wholeNumber("--reps", values.reps),
    wholeNumber("--threads", values.threads),
  ];
  const all = await listData(folder, {});
  const list = { ...all, entries: all.entries.slice(0, images) };
  const temp = await mkdtemp(join(tmpdir(), "tricera-embed-"));
  const opened = performance.now();
  await using session = await openSession({
    model: modelPath,
    threads,
    imageSizePx: values["image-size"] === undefined ? undefined : Number(values["image-size"]),
  });
  const { encoder, pictures: pool, imageSizePx } = session;
  const once = async (): Promise<void> => {
    const { features } = await extractFeatures(list, { encoder, pool, imageSizePx, batchSize });
    await writeFile(join(temp, "features.bin"), features);
  };
  await once();
  const loadMs = performance.now() - opened;
  const times: number[] = [];
  for (let i = 0; i < reps; i++) {
    const started = performance.now();
    await once();
    times.push((performance.now() - started) / 1000);
  }
  await rm(temp, { recursive: true });
  console.log(
    JSON.stringify({
      script: "embed",
      images: list.entries.length,
      batch: batchSize,
      threads,
      images_per_s: round(list.entries.length / median(times), 2),
      load_and_first_ms: Math.round(loadMs),
      peak_rss_mb: peakRssMb(),
    }),
  );
}

async function lastLine(command: string, args: readonly string[], cwd?: string): Promise<Line> {
  const { stdout } = await promisify(execFile)(command, [...args], { cwd });
  const line = stdout.trim().split("\n").at(-1) ?? "";
  process.stderr.write(`${line}\n`);
  return JSON.parse(line) as Line; // a peer script prints one JSON object last
}

const rateOf = ({ images_per_s: rate }: Line, key = ""): number => (typeof rate === "number" ? rate : (rate[key] ?? NaN));

async function runInTurn(python: string, scripts: string): Promise<void> {
  const common = ["--photos", photos ?? "", "--images", values.images, "--reps", values.reps];
  const self = [fileURLToPath(import.meta.url), "--model", model ?? "", "--batch", values.batch, "--threads", values.threads, ...common];
  const rounds: Record<string, number>[] = [];
  for (let i = 0; i < wholeNumber("--rounds", values.rounds); i++) {
    const ours = rateOf(await lastLine(process.execPath, self));
    const theirs = await lastLine(python, [join(scripts, "embed.py"), ...common], scripts);
    const rates = {
      ours,
      torch_f32: rateOf(theirs, "fp32"),
      torch_f32_2workers: rateOf(theirs, "fp32_2workers"),
      torch_bf16: rateOf(theirs, "bf16"),
    };
    const withJs =
      js === undefined || onnx === undefined
        ? {}
        : {
            transformers_js: rateOf(
              await lastLine(
                process.execPath,
                [join(js, "embed.mjs"), dirname(onnx), basename(onnx), photos ?? "", values.images, values.reps],
                js,
              ),
            ),
          };
    rounds.push({ ...rates, ...withJs });
  }
  const names = Object.keys(rounds[0] ?? {});
  const rates = Object.fromEntries(names.map((name) => [name, median(rounds.map((r) => r[name] ?? NaN))]));
  const ratios = Object.fromEntries(
    names.filter((name) => name !== "ours").map((name) => [name, rounds.map((r) => round((r["ours"] ?? NaN) / (r[name] ?? NaN), 2))]),
  );
  console.log(JSON.stringify({ script: "embed", images_per_s: rates, ours_over: ratios }));
}

if (peer !== undefined && peers !== undefined) await runInTurn(peer, peers);
else await runOurs(model, photos);
