/** @file For tests: convolutional networks of a few channels, and weights that are all in use. */
import { type HostTensor, Rng, sizeOf } from "../../core/index.ts";
import { type BackboneConfig, backboneSpecs, backboneState, type ConvNeXtConfig, initParam, type ResNetConfig } from "../../nn/index.ts";

export const TINY_CONVNEXT: ConvNeXtConfig = { family: "convnext", depths: [1, 2, 1, 1], widths: [4, 6, 8, 10] };
export const TINY_RESNET: ResNetConfig = { family: "resnet", block: "basic", depths: [1, 1, 2, 1], width: 2 };

/** Random weights by our names, norms near one; running variances are positive. */
export function convWeights(config: BackboneConfig, seed = 1): Map<string, HostTensor> {
  const rng = new Rng(seed);
  return new Map(
    [...backboneSpecs(config), ...backboneState(config)].map((spec) => {
      const data = new Float32Array(sizeOf(spec.shape));
      initParam({ ...spec, init: { kind: "normal", std: 0.2 } }, data, rng);
      if (/(?:norm|bn\d|downsample\.1)\.weight$|gamma$|running_var$/.test(spec.name))
        for (const [i, x] of data.entries()) data[i] = Math.abs(x + 1);
      return [spec.name, { dtype: "f32", shape: spec.shape, data }] as const;
    }),
  );
}
