/** @file The backbone's parameters in a step: its own, and low-rank adapters beside them where there are any. */
import { ConfigError } from "../core/index.ts";
import {
  backboneSpecs,
  type BackboneConfig,
  isViT,
  type LoraConfig,
  loraSpecs,
  type Params,
  type ParamSpec,
  prefixed,
  scoped,
  withLora,
} from "../nn/index.ts";

export const BACKBONE = "backbone.";

interface Adapted {
  readonly backbone: BackboneConfig;
  readonly lora?: LoraConfig | undefined;
}

/** Parameters under `backbone.`. Throws ConfigError for adapters of another network than a ViT. */
export function backboneParamSpecs({ backbone, lora }: Adapted): ParamSpec[] {
  if (lora === undefined) return prefixed(backboneSpecs(backbone), BACKBONE);
  if (isViT(backbone)) return prefixed([...backboneSpecs(backbone), ...loraSpecs(backbone, lora)], BACKBONE);
  throw new ConfigError("Cannot adapt the backbone: LoRA is for ViTs; set init.loraRank to 0", { keyPath: "init.loraRank" });
}

/** Lookup of the backbone's parameters; no gradient reaches those that adapters stand beside. */
export function backboneParams({ backbone, lora }: Adapted, params: Params): Params {
  const own = scoped(params, BACKBONE);
  return lora === undefined || !isViT(backbone) ? own : withLora(own, own, { config: backbone, lora });
}

/** Whether a parameter of the backbone stays as it is: with adapters, all but they do. */
export function isAdaptedOnly({ lora }: Adapted, name: string): boolean {
  return lora !== undefined && name.startsWith(BACKBONE) && !name.includes(".lora_");
}
