/** @file For tests: random weights of any backbone, by our names, all in use. */
import { type HostTensor, Rng, sizeOf } from "../../core/index.ts";
import { type BackboneConfig, backboneSpecs, backboneState, initParam } from "../../nn/index.ts";

/** About what training gives, norms near one; running variances are positive. */
export function randomBackbone(config: BackboneConfig, seed = 1): Map<string, HostTensor> {
  const rng = new Rng(seed);
  return new Map(
    [...backboneSpecs(config), ...backboneState(config)].map((spec) => {
      const data = new Float32Array(sizeOf(spec.shape));
      initParam({ ...spec, init: { kind: "normal", std: 0.2 } }, data, rng);
      if (/(?:norm\d?|bn\d|downsample\.1)\.weight$|gamma$|running_var$/.test(spec.name))
        for (const [i, x] of data.entries()) data[i] = Math.abs(x + 1);
      return [spec.name, { dtype: "f32", shape: spec.shape, data }] as const;
    }),
  );
}
