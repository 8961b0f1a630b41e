/** @file The networks of a run as plain data: backbone and heads. */

export interface ModelConfig {
  /** `vit` for free sizes, or the preset the sizes came from. */
  readonly arch: string;
  readonly family: "vit" | "convnext" | "resnet";
  /** Blocks; those of a ConvNeXt or ResNet are counted over its stages. */
  readonly depth: number;
  /** Channels of the features; a ConvNeXt's or ResNet's are those of its last stage. */
  readonly width: number;
  /** 1 where there is no attention. */
  readonly heads: number;
  readonly mlpRatio: number;
  /** Side of a patch; a ConvNeXt's or ResNet's is the stride of its last map. */
  readonly patchSizePx: number;
  /** Side of the position embedding's native picture. */
  readonly imageSizePx: number;
  /** Channels of a picture: 3 are colours, any other number bands as they are stored (grey, RGBA, multispectral). */
  readonly channels: number;
  /** Rate of the last block; it grows linearly from 0, or is the same everywhere with `dropPathUniform`. Student only. */
  readonly dropPath: number;
  /** `per-sample`: each row of the batch by itself; `subset`: the branch runs on a random part of the batch (DINOv2 spec §2.3). */
  readonly dropPathKind: "per-sample" | "subset";
  readonly dropPathUniform: boolean;
  readonly posInterpolation: "meta-offset" | "size" | "size-antialias";
  readonly posEmbedInit: "normal" | "sincos";
  /** Register tokens between the class token and the patches (DINOv3: storage tokens). */
  readonly registers: number;
  /** What LayerScale starts from; 0 = none. */
  readonly layerScale: number;
  readonly ffn: "mlp" | "swiglu-fused" | "swiglu";
  /** Hidden width of the feed-forward part; 0 = mlpRatio · width. */
  readonly ffnHidden: number;
  readonly qkvBias: boolean;
  /** DINOv3: the bias of the keys counts as zero. */
  readonly keyBiasMask: boolean;
  readonly norm: "layernorm" | "rmsnorm";
  readonly layerNormEps: number;
  readonly positions: "learned" | "rope";
  /** The longest period of RoPE, in units of half a picture. */
  readonly ropeBase: number;
  /** Largest shift of the coordinates in training; 0 = none. */
  readonly ropeShift: number;
  /** Largest factor on each axis in training; 1 = none. */
  readonly ropeJitter: number;
  /** Largest factor on both axes in training; 1 = none. */
  readonly ropeRescale: number;
  /** A learned token in place of masked patches, which iBOT needs. */
  readonly maskToken: boolean;
  /** Class token and registers of local crops have a final norm of their own in training. */
  readonly localClsNorm: boolean;
}

/** The DINO head, and the iBOT head where it is not the same. SimCLR's projection is the layers up to `bottleneck`. */
export interface HeadConfig {
  readonly prototypes: number;
  readonly hidden: number;
  readonly bottleneck: number;
  readonly layers: number;
  readonly batchNorm: boolean;
  readonly normLastLayer: boolean;
  /** `weight-norm`: DINO, DINOv2; `plain`: DINOv3. */
  readonly lastLayer: "weight-norm" | "plain";
  /** False: the DINO head sees the patches too, and the three keys below are its own. */
  readonly ibotSeparate: boolean;
  readonly ibotPrototypes: number;
  readonly ibotHidden: number;
  readonly ibotBottleneck: number;
}
