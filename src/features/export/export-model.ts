/** @file `exportModel()`: a model as a file or a folder that others run, checked against its source. */
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, join, resolve } from "node:path";
import { ConfigError, Owned } from "../../core/index.ts";
import { type OnnxModel, PORTABLE_OPSET } from "../../engine/onnx/index.ts";
import { openCpu } from "../../engine/runtime/index.ts";
import { writeFileAtomic, writeFolderLookedAt, writeLookedAt, writeModelInto, writeSafetensors } from "../../weights/index.ts";
import { openModel, type OpenModel } from "../model.ts";
import { buildModel, needsExternal } from "./build-model.ts";
import type { CheckResult } from "./check.ts";
import { type Job, outputsOf, processorOf, tensorsOf } from "./job.ts";
import { checkData, checkExportOptions, checkOut, checkSize, dataPath, type ExportFormat, type ExportOptions } from "./options.ts";
import type { WeightDType } from "./stored-weights.ts";
import { METADATA } from "./metadata.ts";
import { checkOnnx, checkWritten } from "./verify.ts";
import { hasDataBeside, onnxPath, writeOnnx, writePairLookedAt } from "./write-export.ts";

/** Sizes by name of input or output; a text is the name of a size that is open. */
export type NamedShapes = Readonly<Record<string, readonly (number | string)[]>>;

export interface ExportResult {
  readonly out: string;
  readonly format: ExportFormat;
  readonly dtype: WeightDType;
  /** Bytes of each file, by its name below `out` where that is a folder. */
  readonly files: Readonly<Record<string, number>>;
  /** Version of ONNX's operator set; undefined where no graph was written. */
  readonly opset: number | undefined;
  readonly inputs: NamedShapes;
  readonly outputs: NamedShapes;
  /** How far it is from its source; undefined where it was not checked. */
  readonly check: CheckResult | undefined;
}

/** Throws ConfigError where the model would be written over itself. */
function checkApart({ dir }: OpenModel, { out, model }: ExportOptions): void {
  if (![dir, model].some((path) => resolve(path) === resolve(out))) return;
  throw new ConfigError(`Cannot export: "${out}" is the model itself; give another --out`, { keyPath: "out" });
}

/**
 * Exports a model. The graph uses ONNX's own operators only, so that ONNX Runtime in Python, Node and browsers runs it; weights are inside.
 * What was written is run on pictures of seeded noise against the source, at several batches and sizes where those are open; where it is
 * too far from it, FormatError is thrown and nothing is left. Throws ConfigError for options that do not fit each other or the model,
 * and what `openModel` throws.
 */
export async function exportModel(options: ExportOptions): Promise<ExportResult> {
  checkExportOptions(options);
  await checkOut(options);
  const { format = "onnx", dtype = "f32", dynamic = false, threads = availableParallelism(), signal } = options;
  using owned = new Owned();
  const device = owned.use(openCpu({ threads }));
  const model = await openModel(options.model, device, { arch: options.arch });
  owned.use(model.encoder);
  checkApart(model, options);
  const { config } = model.encoder;
  const imageSizePx = options.imageSizePx ?? model.imageSizePx;
  checkSize(config, imageSizePx, dynamic);
  const outputs = outputsOf(config, options);
  signal?.throwIfAborted();
  const job: Job = { options, model, device, tensors: tensorsOf(model.encoder), format, dtype, outputs, imageSizePx };
  return await WRITE[format](job);
}

const WRITE: { readonly [K in ExportFormat]: (job: Job) => Promise<ExportResult> } = {
  onnx: exportOnnx,
  safetensors: exportSafetensors,
  hf: exportFolder,
};

function graphOf(job: Job): OnnxModel {
  const { options, model, tensors, outputs, imageSizePx, dtype } = job;
  const { config } = model.encoder;
  return buildModel({
    config,
    tensors,
    outputs,
    dtype,
    imageSizePx: options.dynamic === true ? "open" : imageSizePx,
    batch: options.batchSize ?? "open",
    metadata: {
      [METADATA.config]: JSON.stringify(config),
      [METADATA.decode]: JSON.stringify(model.rules),
      [METADATA.processor]: JSON.stringify(processorOf(job)),
    },
  });
}

function shapesOf(list: OnnxModel["inputs"]): NamedShapes {
  return Object.fromEntries(list.map(({ name, shape }) => [name, shape]));
}

/** What is said of a graph that was written. */
function described({ inputs, outputs }: OnnxModel): Pick<ExportResult, "opset" | "inputs" | "outputs"> {
  return { opset: PORTABLE_OPSET, inputs: shapesOf(inputs), outputs: shapesOf(outputs) };
}

const sizeOfFile = async (path: string): Promise<number> => (await stat(path)).size;

/** Whether weights go to a file beside the graph: where it is asked for, or they have to. */
function isExternal({ options, tensors, dtype }: Job): boolean {
  if (options.externalData === true) return true;
  const needed = needsExternal(tensors, dtype);
  if (needed)
    options.onNotice?.("The weights take more than an ONNX file holds (2 GiB): they are written beside it, to a file .onnx_data.");
  return needed;
}

async function exportOnnx(job: Job): Promise<ExportResult> {
  const { format, dtype } = job;
  const { out, overwrite = false } = job.options;
  const external = isExternal(job);
  if (external && !overwrite) await checkData(out);
  const graph = graphOf(job);
  const isStale = !external && (await hasDataBeside(out));
  const check = await (external ? writePairLookedAt : writeLookedAt)(out, {
    write: (path) => writeOnnx(path, graph, { isExternal: external }),
    look: (path) => checkOnnx(job, path),
  });
  if (isStale) await rm(dataPath(out), { force: true });
  const paths = external ? [out, dataPath(out)] : [out];
  return { out, format, dtype, files: await sizesOf(paths), ...described(graph), check };
}

/** Bytes of files by their paths, those in a folder by their names below it. */
async function sizesOf(paths: readonly string[], dir = ""): Promise<Readonly<Record<string, number>>> {
  const sizes = await Promise.all(paths.map((path) => sizeOfFile(join(dir, path))));
  return Object.fromEntries(paths.map((path, i) => [path, sizes[i] ?? 0]));
}

async function exportSafetensors(job: Job): Promise<ExportResult> {
  const { format, dtype, tensors, model } = job;
  const { out } = job.options;
  const check = await writeLookedAt(out, {
    write: (path) => writeSafetensors(path, tensors, { format: "pt" }),
    look: (path) => checkWritten(job, path, model.encoder.config),
  });
  return { out, format, dtype, files: await sizesOf([out]), opset: undefined, inputs: {}, outputs: {}, check };
}

async function exportFolder(job: Job): Promise<ExportResult> {
  const { format, dtype, tensors, model } = job;
  const { out } = job.options;
  const external = isExternal(job);
  const graph = graphOf(job);
  const check = await writeFolderLookedAt(out, {
    write: async (dir) => {
      await writeModelInto(dir, { config: model.encoder.config, tensors, processor: processorOf(job) });
      await mkdir(join(dir, "onnx"), { recursive: true });
      await writeOnnx(join(dir, onnxPath(dtype)), graph, { isExternal: external });
      if (external) await sayExternal(dir, basename(onnxPath(dtype)));
    },
    look: async (dir) => {
      await checkWritten(job, dir);
      return await checkOnnx(job, join(dir, onnxPath(dtype)));
    },
  });
  const names = [...(await readdir(out)).filter((name) => name !== "onnx"), onnxPath(dtype)];
  const files = await sizesOf(external ? [...names, dataPath(onnxPath(dtype))] : names, out);
  return { out, format, dtype, files, ...described(graph), check };
}

/** Tells transformers.js that a graph's weights are one file beside it. */
async function sayExternal(dir: string, name: string): Promise<void> {
  const file = join(dir, "config.json");
  const said = JSON.stringify({ use_external_data_format: { [name]: 1 } });
  const text = await readFile(file, "utf8");
  await writeFileAtomic(file, text.replace("{", `{\n  "transformers.js_config": ${said},`)); // its floats stay floats
}
