/** @file For tests and tools: random weights of any backbone, by our names, all in use; convolutional networks of a few channels. */
import { type HostTensor, Rng, sizeOf } from "../../core/index.ts";
import { type BackboneConfig, backboneSpecs, backboneState, type ConvNeXtConfig, initParam, type ResNetConfig } from "../../nn/index.ts";

export const TINY_CONVNEXT: ConvNeXtConfig = { family: "convnext", depths: [1, 2, 1, 1], widths: [4, 6, 8, 10] };
export const TINY_RESNET: ResNetConfig = { family: "resnet", block: "basic", depths: [1, 1, 2, 1], width: 2 };

/** About what training gives, norms near one; running variances are positive. */
export function randomBackbone(config: BackboneConfig, seed = 1, std = 0.2): Map<string, HostTensor> {
  const rng = new Rng(seed);
  return new Map(
    [...backboneSpecs(config), ...backboneState(config)].map((spec) => {
      const data = new Float32Array(sizeOf(spec.shape));
      initParam({ ...spec, init: { kind: "normal", std } }, data, rng);
      if (/(?:norm\d?|bn\d|downsample\.1)\.weight$|gamma$|running_var$/.test(spec.name))
        for (const [i, x] of data.entries()) data[i] = Math.abs(x + 1);
      return [spec.name, { dtype: "f32", shape: spec.shape, data }] as const;
    }),
  );
}
