/** @file DINO's projection head: an MLP, L2 normalisation and a last layer over prototypes, weight-normed or plain. DINO spec §1.4, §3.4. */
import { add, dot, gelu, l2Normalize, mul, reduceMean, reduceSumSquare, reshape, rsqrt, sub, type Tensor } from "../engine/trace/index.ts";
import { linear } from "./layers.ts";
import { linearSpecs, normSpecs, type Params, type ParamSpec, scoped } from "./params.ts";

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
      ...(batchNorm && i < layers - 1 ? normSpecs(`mlp.${place(config, i) + 1}`, w[i + 1] ?? 1) : []),
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
  return Array.from({ length: config.layers - 1 }, (_, i) => {
    const name = `mlp.${place(config, i) + 1}`;
    return [
      { name: `${name}.running_mean`, shape: [config.hidden], init: { kind: "zeros" } as const },
      { name: `${name}.running_var`, shape: [config.hidden], init: { kind: "ones" } as const },
    ];
  }).flat();
}

export interface HeadOptions {
  readonly config: DinoHeadConfig;
  /** Running statistics by name; with `onState` new ones are given out and batch statistics are used (training). */
  readonly state?: Params;
  readonly onState?: (name: string, next: Tensor) => void;
}

const BN_MOMENTUM = 0.1;
const BN_EPS = 1e-5;

/** Batch norm over rows; biased variance normalises, the unbiased one goes into the running statistics. */
function batchNorm(
  params: Params,
  x: Tensor,
  { name, state, onState }: { name: string; state: Params | undefined; onState: HeadOptions["onState"] },
): Tensor {
  const rows = x.shape[0] ?? 1;
  const affine = (y: Tensor): Tensor => add(mul(y, params("weight")), params("bias"));
  if (onState === undefined || state === undefined) {
    if (state === undefined) throw new RangeError("Cannot apply batch norm: it has no running statistics; pass the head's state");
    return affine(mul(sub(x, state("running_mean")), rsqrt(add(state("running_var"), BN_EPS))));
  }
  const mean = reduceMean(x, [0]);
  const centred = sub(x, mean);
  const variance = reduceMean(mul(centred, centred), [0]);
  const toward = (old: Tensor, now: Tensor): Tensor => add(mul(old, 1 - BN_MOMENTUM), mul(now, BN_MOMENTUM));
  onState(`${name}.running_mean`, toward(state("running_mean"), mean));
  onState(`${name}.running_var`, toward(state("running_var"), mul(variance, rows / Math.max(1, rows - 1))));
  return affine(mul(centred, rsqrt(add(variance, BN_EPS))));
}

/** The head without its last layer: features `[rows, width]` -> L2-normalised `[rows, bottleneck]`. */
export function applyHeadTrunk(params: Params, x: Tensor, { config, state, onState }: HeadOptions): Tensor {
  let h = x;
  for (let i = 0; i < config.layers; i++) {
    const at = place(config, i);
    h = linear(scoped(params, config.layers === 1 ? "mlp." : `mlp.${at}.`), h);
    if (i === config.layers - 1) break;
    const name = `mlp.${at + 1}`;
    if (config.batchNorm)
      h = batchNorm(scoped(params, `${name}.`), h, {
        name,
        state: state === undefined ? undefined : scoped(state, `${name}.`),
        onState,
      });
    h = gelu(h);
  }
  return l2Normalize(h, 1e-12);
}

/**
 * The last layer: `[rows, bottleneck]` -> logits `[rows, prototypes]`.
 * The weight norm `g v/‖v‖` is applied to the logits, `(x vᵀ) g/‖v‖`, so that no normalised copy of the prototypes is made.
 */
export function applyLastLayer(params: Params, x: Tensor, { prototypes, lastLayer = "weight-norm" }: DinoHeadConfig): Tensor {
  if (lastLayer === "plain") return dot(x, params("last_layer.weight"), { transB: true });
  const v = params("last_layer.weight_v");
  const length = mul(reshape(params("last_layer.weight_g"), [1, prototypes]), rsqrt(reshape(reduceSumSquare(v, [1]), [1, prototypes])));
  return mul(dot(x, v, { transB: true }), length);
}

/** Features `[rows, width]` -> logits `[rows, prototypes]`. */
export function applyDinoHead(params: Params, x: Tensor, options: HeadOptions): Tensor {
  return applyLastLayer(params, applyHeadTrunk(params, x, options), options.config);
}
