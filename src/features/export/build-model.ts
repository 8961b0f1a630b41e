/** @file A backbone as an ONNX model: traced with the sizes that are open, weights inside. */
import { type HostTensor, InternalError, sizeOf } from "../../core/index.ts";
import { lowerModel, type OnnxModel, type SizeSource, type SizeSymbol, traceSymbolic } from "../../engine/onnx/index.ts";
import { type BackboneConfig, isViT, patchSizeOf } from "../../nn/index.ts";
import { type OutputName, traceOutputs } from "./outputs.ts";
import { emitWeight, isQuantized, type WeightDType } from "./stored-weights.ts";
import { positionTable } from "./tables.ts";

export interface BuildOptions {
  readonly config: BackboneConfig;
  /** Parameters and running statistics by their own names, float32. */
  readonly tensors: ReadonlyMap<string, HostTensor>;
  readonly outputs: readonly OutputName[];
  /** Side of the pictures; any where it is open. */
  readonly imageSizePx: number | "open";
  readonly batch: number | "open";
  readonly dtype: WeightDType;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Sizes that no network of ours has by itself, so that none is taken for another. */
const BATCH: SizeSymbol = { name: "batch_size", low: 1009, high: 1013, probe: 1021 };
const ROWS: SizeSymbol = { name: "rows", low: 23, high: 29, probe: 31 };
const COLUMNS: SizeSymbol = { name: "columns", low: 37, high: 41, probe: 43 };

interface Open {
  readonly symbols: readonly SizeSymbol[];
  readonly sources: readonly SizeSource[];
}

function openSizes({ config, imageSizePx, batch }: BuildOptions): Open {
  const step = patchSizeOf(config);
  const up = !isViT(config) && config.family === "resnet";
  const open = [
    ...(batch === "open" ? [{ symbol: BATCH, source: { axis: 0, step: 1 } }] : []),
    ...(imageSizePx === "open"
      ? [
          { symbol: ROWS, source: { axis: 2, step, up } },
          { symbol: COLUMNS, source: { axis: 3, step, up } },
        ]
      : []),
  ];
  return { symbols: open.map((o) => o.symbol), sources: open.map((o) => o.source) };
}

/** Bytes of the weights as stored, before any memory is taken for them. */
export function storedBytes(tensors: ReadonlyMap<string, HostTensor>, dtype: WeightDType): number {
  const bytes = (name: string, shape: readonly number[]): number => {
    if (dtype === "f16" && shape.length > 1) return 2;
    return dtype === "int8" && isQuantized(name, shape) ? 1 : 4;
  };
  return [...tensors].reduce((n, [name, { shape }]) => n + sizeOf(shape) * bytes(name, shape), 0);
}

/** A protobuf message has fewer bytes than this. */
const MAX_BYTES = 2 ** 31;
/** Kept for the graph itself. */
const GRAPH_BYTES = 2 ** 24;

/** Whether the weights do not fit into the model's own file. */
export function needsExternal(tensors: ReadonlyMap<string, HostTensor>, dtype: WeightDType): boolean {
  return storedBytes(tensors, dtype) + GRAPH_BYTES >= MAX_BYTES;
}

/** The model. Sizes that are open have names: `batch_size`, `height`, `width`; those of outputs are written of them and of the patch grid. */
export function buildModel(options: BuildOptions): OnnxModel {
  const { config, tensors, outputs, imageSizePx, batch, dtype, metadata } = options;
  const { symbols, sources } = openSizes(options);
  const patch = patchSizeOf(config);
  const sizesOf = (values: readonly number[]) => {
    const at = (name: string): number => values[symbols.findIndex((s) => s.name === name)] ?? 0;
    const sizePx = imageSizePx === "open" ? { height: at("rows") * patch, width: at("columns") * patch } : imageSizePx;
    return { outputs, batch: batch === "open" ? at("batch_size") : batch, sizePx };
  };
  const traced = traceSymbolic(symbols, (values) => traceOutputs(config, sizesOf(values)));
  const model = lowerModel(traced, {
    sources,
    axisNames: { 0: "batch_size", 2: "height", 3: "width" },
    weight: ({ name }, to) => {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw new InternalError(`Cannot export: the network has no "${name}"`);
      return emitWeight(to, tensor, { name, dtype });
    },
    table: ({ params }, context) => {
      if (!isViT(config)) throw new InternalError("Cannot export: a convolutional network has no positions");
      return positionTable(context, config, Number(params.data[0]));
    },
  });
  return metadata === undefined ? model : { ...model, metadata };
}
