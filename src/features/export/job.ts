/** @file An export under way: the open model, and what is asked of it. */
import type { HostTensor } from "../../core/index.ts";
import type { Device, OrtEnv } from "../../engine/runtime/index.ts";
import { type BackboneConfig, backboneSpecs, backboneState } from "../../nn/index.ts";
import type { Encoder } from "../encoder.ts";
import type { OpenModel } from "../model.ts";
import type { ExportFormat, ExportOptions } from "./options.ts";
import { checkOutputs, type OutputName } from "./outputs.ts";
import { processorFile } from "./processor-file.ts";
import type { WeightDType } from "./stored-weights.ts";

export interface Job {
  readonly options: ExportOptions;
  readonly model: OpenModel;
  readonly device: Device & { readonly env: OrtEnv };
  readonly tensors: ReadonlyMap<string, HostTensor>;
  readonly format: ExportFormat;
  readonly dtype: WeightDType;
  readonly outputs: readonly OutputName[];
  readonly imageSizePx: number;
}

/** A network's tensors over its own memory. */
export function tensorsOf({ config, params }: Encoder): ReadonlyMap<string, HostTensor> {
  return new Map(
    [...backboneSpecs(config), ...backboneState(config)].flatMap(({ name, shape }) => {
      const data = params.get(name);
      return data === undefined ? [] : [[name, { dtype: "f32", shape, data }] as const];
    }),
  );
}

const USUAL: { readonly [K in ExportFormat]: readonly OutputName[] } = {
  onnx: ["cls", "patches"],
  safetensors: ["last_hidden_state"],
  hf: ["last_hidden_state", "pooler_output"],
};

/** The outputs asked for; those that are usual for the format unless any are. Throws ConfigError for what the network does not have. */
export function outputsOf(config: BackboneConfig, { outputs, format = "onnx" }: ExportOptions): readonly OutputName[] {
  if (outputs === undefined) return USUAL[format];
  const always = format === "hf" ? USUAL.hf : []; // transformers.js reads these
  return checkOutputs(config, [...always.filter((name) => !outputs.includes(name)), ...outputs]);
}

/** The processor of what is exported: the model's own, at the exported size. */
export function processorOf({ model, imageSizePx }: Job): object {
  return processorFile({ ...model.preprocessing, imageSizePx });
}
