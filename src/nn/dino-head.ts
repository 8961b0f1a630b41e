/** @file DINO's projection head: an MLP, L2 normalisation and a last layer over prototypes, weight-normed or plain. DINO spec §1.4, §3.4. */
import { dot, gelu, l2Normalize, mul, reduceSumSquare, reshape, rsqrt, type Tensor } from "../engine/trace/index.ts";
import { batchNorm, batchNormSpecs, batchNormState, type BatchNormState } from "./batch-norm.ts";
import { linear } from "./layers.ts";
import { linearSpecs, type Params, type ParamSpec, scoped } from "./params.ts";

export interface DinoHeadConfig {
  readonly width: number;
  readonly hidden: number;
  readonly bottleneck: number;
  readonly prototypes: number;
  readonly layers: number;
  readonly batchNorm: boolean;
  /** DINO's and DINOv2's weight-normed layer (unless said), or DINOv3's plain one; neither has a bias. */
  readonly lastLayer?: "weight-norm" | "plain";
}

/** Position of the i-th linear layer inside `mlp`: batch norm and GELU take places of their own. */
function place(config: DinoHeadConfig, i: number): number {
  return i * (config.batchNorm ? 3 : 2);
}

function widths({ width, hidden, bottleneck, layers }: DinoHeadConfig): number[] {
  return [width, ...Array<number>(Math.max(0, layers - 1)).fill(hidden), bottleneck];
}

export function dinoHeadSpecs(config: DinoHeadConfig): ParamSpec[] {
  const { layers, batchNorm } = config;
  const w = widths(config);
  return [
    ...Array.from({ length: layers }, (_, i) => [
      ...linearSpecs(layers === 1 ? "mlp" : `mlp.${place(config, i)}`, {
        in: w[i] ?? 1,
        out: w[i + 1] ?? 1,
      }),
      ...(batchNorm && i < layers - 1 ? batchNormSpecs(`mlp.${place(config, i) + 1}`, w[i + 1] ?? 1) : []),
    ]).flat(),
    ...lastLayerSpecs(config),
  ];
}

function lastLayerSpecs({ bottleneck, prototypes, lastLayer = "weight-norm" }: DinoHeadConfig): ParamSpec[] {
  const shape = [prototypes, bottleneck];
  if (lastLayer === "plain") return [{ name: "last_layer.weight", shape, init: { kind: "truncNormal", std: 0.02 } }];
  return [
    { name: "last_layer.weight_g", shape: [prototypes, 1], init: { kind: "ones" } },
    { name: "last_layer.weight_v", shape, init: { kind: "uniform", bound: 1 / Math.sqrt(bottleneck) } },
  ];
}

/** Names and shapes of the running statistics of batch norm: state, not parameters. */
export function dinoHeadState(config: DinoHeadConfig): ParamSpec[] {
  if (!config.batchNorm) return [];
  return Array.from({ length: config.layers - 1 }, (_, i) => batchNormState(`mlp.${place(config, i) + 1}`, config.hidden)).flat();
}

/** Features in, and batch norm's running statistics: with `onState` new ones are given out and batch statistics are used (training). */
export interface HeadOptions extends BatchNormState {
  readonly config: DinoHeadConfig;
  /** Logits are divided by it, which costs nothing here and a pass over them later; 1 by default. */
  readonly temperature?: number;
}

/** The head without its last layer: features `[rows, width]` -> L2-normalised `[rows, bottleneck]`. */
export function applyHeadTrunk(params: Params, x: Tensor, { config, state, onState }: HeadOptions): Tensor {
  const running = { ...(state === undefined ? {} : { state }), ...(onState === undefined ? {} : { onState }) };
  let h = x;
  for (let i = 0; i < config.layers; i++) {
    const at = place(config, i);
    h = linear(scoped(params, config.layers === 1 ? "mlp." : `mlp.${at}.`), h);
    if (i === config.layers - 1) break;
    if (config.batchNorm) h = batchNorm(params, h, { name: `mlp.${at + 1}`, ...running });
    h = gelu(h);
  }
  return l2Normalize(h, 1e-12);
}

/**
 * The last layer: `[rows, bottleneck]` -> logits `[rows, prototypes]`, divided by the temperature.
 * The weight norm `g v/‖v‖` is applied to the logits, `(x vᵀ) g/‖v‖`, so that no normalised copy of the prototypes is made.
 */
export function applyLastLayer(
  params: Params,
  x: Tensor,
  { config, temperature = 1 }: Pick<HeadOptions, "config" | "temperature">,
): Tensor {
  const { prototypes, lastLayer = "weight-norm" } = config;
  if (lastLayer === "plain") return dot(x, params("last_layer.weight"), { transB: true, alpha: 1 / temperature });
  const v = params("last_layer.weight_v");
  const length = mul(reshape(params("last_layer.weight_g"), [1, prototypes]), rsqrt(reshape(reduceSumSquare(v, [1]), [1, prototypes])));
  const sharp = temperature === 1 ? length : mul(length, 1 / temperature);
  return mul(dot(x, v, { transB: true }), sharp);
}

/** Features `[rows, width]` -> logits `[rows, prototypes]`. */
export function applyDinoHead(params: Params, x: Tensor, options: HeadOptions): Tensor {
  return applyLastLayer(params, applyHeadTrunk(params, x, options), options);
}
