/** @file Opens an ONNX file, or a folder with one, as a model. */
import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FormatError } from "../../core/index.ts";
import type { OrtEnv, OrtSession } from "../../engine/runtime/index.ts";
import { IMAGENET_MEAN, IMAGENET_STD } from "../../images/index.ts";
import type { BackboneConfig } from "../../nn/index.ts";
import { readDescribedConfig } from "../../weights/index.ts";
import { metadataJson, type OnnxFile, type OnnxInfo, type OnnxPlace, readBeside, readOnnxFile } from "../../weights/onnx/index.ts";
import { METADATA } from "../export/metadata.ts";
import type { OutputName } from "../export/outputs.ts";
import type { OpenEncoder, OpenEncoderOptions } from "../model.ts";
import {
  checkChannels,
  type DecodeRules,
  decodeRulesOf,
  familyPreprocessing,
  networkSizePx,
  type Preprocessing,
  readProcessorRules,
  runDecodeRules,
} from "../processor.ts";
import { layoutFromRun, layoutOf, type OnnxLayout, patchOf, readOwnConfig } from "./layout.ts";
import { OnnxEncoder, runOnnx } from "./onnx-encoder.ts";
import { type OnnxPorts, readPorts } from "./ports.ts";

interface Opening {
  readonly place: OnnxPlace;
  readonly file: OnnxFile;
  readonly ports: OnnxPorts;
  readonly config: BackboneConfig | undefined;
  readonly preprocessing: Preprocessing;
}

/**
 * Opens an ONNX model for inference. Its network is that of `arch`, else what our exports carry, else the `config.json` beside it, else what
 * the graph itself tells. Throws FormatError for files that are damaged, not from pictures to tokens, or not run by ONNX Runtime; ConfigError
 * for an unknown `arch`.
 */
export async function openOnnxModel(
  place: OnnxPlace,
  env: OrtEnv,
  { arch, imageSizePx: askedPx }: OpenEncoderOptions = {},
): Promise<OpenEncoder> {
  const file = await readOnnxFile(place.file);
  const { info } = file;
  const ports = readPorts(info);
  const beside = await readBeside(place);
  const own = metadataJson(info, METADATA.config);
  const config =
    own === undefined || arch !== undefined
      ? readDescribedConfig(beside.config, { file: place.config ?? "", arch })
      : readOwnConfig(own, info.path);
  const preprocessing = preprocessingOf({ place, info, ports, config, processor: beside.processor });
  const channels = ports.input.channels ?? config?.channels ?? 3;
  checkChannels(preprocessing, { model: info.path, channels });
  const encoder = await openEncoder({ place, file, ports, config, preprocessing }, { env, channels, askedPx });
  const { mean, std, imageSizePx } = preprocessing;
  const dir = dirname(place.file);
  return { encoder, imageSizePx, mean, std, preprocessing, rules: await rulesOf(info, place), dir };
}

/** How pictures are read: as our exports say, or as the run that the file lies in. */
async function rulesOf(info: OnnxInfo, place: OnnxPlace): Promise<DecodeRules> {
  const own = metadataJson(info, METADATA.decode);
  return own === undefined ? decodeRulesOf(dirname(place.config ?? place.file)) : runDecodeRules({ config: { data: own } });
}

interface Described extends Omit<Opening, "file" | "preprocessing"> {
  readonly info: OnnxInfo;
  readonly processor: unknown;
}

/** By the file beside the model, by what our exports carry, by the family; at the graph's own size where that is fixed. */
function preprocessingOf({ place, info, ports, config, processor }: Described): Preprocessing {
  const fixed = ports.input.height ?? ports.input.width;
  const imageSizePx = fixed ?? (config === undefined ? 224 : networkSizePx(config));
  const raw = processor ?? metadataJson(info, METADATA.processor);
  const file = place.processor ?? info.path;
  if (raw !== undefined)
    return { ...readProcessorRules(raw, { file, imageSizePx }), ...(fixed === undefined ? {} : { imageSizePx: fixed }) };
  const family = config === undefined ? USUAL : familyPreprocessing(config);
  return fixed === undefined ? family : { ...family, imageSizePx: fixed };
}

/** DINO's and DINOv2's, where nothing is said. */
const USUAL: Preprocessing = {
  imageSizePx: 224,
  resize: "short-side",
  cropRatio: 224 / 256,
  kernel: "bicubic",
  mean: IMAGENET_MEAN,
  std: IMAGENET_STD,
};

interface Running {
  readonly env: OrtEnv;
  readonly channels: number;
  /** The side of the pictures to come, if it is known. */
  readonly askedPx: number | undefined;
}

async function openEncoder(opening: Opening, running: Running): Promise<OnnxEncoder> {
  const { env, channels } = running;
  const { file, ports } = opening;
  const { path, producer } = file.info;
  const session = openSession(env, file, ports);
  try {
    const layout = await layoutBy(opening, { ...running, session });
    const isPooled = producer.startsWith("tricera");
    return new OnnxEncoder({ env, session, ports, channels, layout, path, fingerprint: await fingerprint(file), isPooled });
  } catch (error) {
    session[Symbol.dispose]();
    throw error;
  }
}

/** The outputs that are asked for: all tokens where they are there, for the rest follows from them. */
function wantedOutputs({ outputs }: OnnxPorts): readonly OutputName[] {
  if (!outputs.has("last_hidden_state")) return [...outputs.keys()];
  return outputs.has("attention") ? ["last_hidden_state", "attention"] : ["last_hidden_state"];
}

/** Throws FormatError, with ONNX Runtime's words, for what it does not run: unknown operators, a later operator set, damage. */
function openSession(env: OrtEnv, { info, bytes, externalDir }: OnnxFile, ports: OnnxPorts): OrtSession {
  const names = { inputs: [ports.input.name], outputs: wantedOutputs(ports) };
  try {
    return env.session(bytes, names, { optimize: "all", quiet: true, externalDir });
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.replace(/^[^:]*: /, "") : String(cause);
    throw new FormatError(
      `Cannot open "${info.path}" (operator set ${info.opset ?? "unknown"}): ${said}; export it again, for an operator set that ONNX Runtime ${env.version} runs`,
      { file: info.path, cause },
    );
  }
}

/** What is known of the tokens; where no configuration is, one picture is run. */
async function layoutBy(
  { file: { info }, ports, config, preprocessing }: Opening,
  { env, session, channels, askedPx }: Running & { readonly session: OrtSession },
): Promise<OnnxLayout> {
  if (config !== undefined) return layoutOf(config, { info, ports });
  const patch = patchOf(info) ?? 1;
  const { height, width, batch = 1 } = ports.input;
  const sizePx = height ?? width ?? Math.max(patch, Math.floor((askedPx ?? preprocessing.imageSizePx) / patch) * patch);
  const shape = [batch, channels, sizePx, sizePx];
  const found = await runOnnx({ env, session, path: info.path }, new Float32Array(batch * channels * sizePx * sizePx), shape);
  return layoutFromRun(info, { sizePx, shapes: new Map([...found].map(([name, tensor]) => [name, tensor.shape])) });
}

const SAMPLES = 64;
const SAMPLE_BYTES = 4096;

/** SHA-256 over the file; of files of weights beside it, over their size and samples spread evenly. */
async function fingerprint({ info, bytes, externalFiles }: OnnxFile): Promise<string> {
  const hash = createHash("sha256").update(bytes);
  for (const name of externalFiles) {
    await using handle = await open(join(dirname(info.path), name), "r");
    const { size } = await handle.stat();
    hash.update(`${name}:${size};`);
    for (let i = 0; i < SAMPLES; i++) {
      const position = Math.floor((i / SAMPLES) * size);
      const { buffer, bytesRead } = await handle.read(new Uint8Array(SAMPLE_BYTES), { position });
      hash.update(buffer.subarray(0, bytesRead));
    }
  }
  return hash.digest("hex");
}
