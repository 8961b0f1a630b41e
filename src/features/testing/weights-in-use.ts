/** @file Random weights of any network, none of which is without effect. */
import { type HostTensor, Rng, sizeOf } from "../../core/index.ts";
import { type BackboneConfig, backboneSpecs, initParam } from "../../nn/index.ts";
import { convWeights } from "../../weights/testing/conv-weights.ts";

/** Weights by Meta's names: positions, biases and scales far from 0. */
export function weightsInUse(config: BackboneConfig): ReadonlyMap<string, HostTensor> {
  if ("family" in config) return convWeights(config, 3);
  const rng = new Rng(4);
  return new Map(
    backboneSpecs(config).map((spec) => {
      const data = new Float32Array(sizeOf(spec.shape));
      initParam({ ...spec, init: { kind: "normal", std: 0.3 } }, data, rng);
      return [spec.name, { dtype: "f32", shape: spec.shape, data }] as const;
    }),
  );
}
