/** @file What a run will take of memory and disk, estimated from its configuration before anything is allocated. */
import { backboneParameters, headParameters, hiddenWidth, ibotHead, stagesOf } from "./count-parameters.ts";
import { mostMasked } from "./mask-counts.ts";
import type { CropSizes, ModelConfig, TrainConfig } from "./types.ts";

const MB = 2 ** 20;

/** Student, teacher, two moments, two halves of the running gradient. */
const PARAMETER_COPIES = 6;
/** Float32 values a block keeps for its backward pass beside its hidden layers, in units of tokens x width (LN, q k v, attention, projection, LN). */
const KEPT_PER_BLOCK = 11;
/**
 * Values a ConvNeXt's block keeps, in channels a pixel: input, depthwise, norm, twice the four-fold hidden layer, output, and what its
 * kernels take beside (ConvNeXt-T, 2 x 224 and 8 x 96 px: 268 MB a picture measured); a ResNet's: three convolutions with their norms.
 */
const KEPT_PER_PIXEL = { convnext: 16, resnet: 8 } as const;
/** Gram matrices alive together: student, teacher, difference, gradient. */
const GRAM_COPIES = 4;
/** A student's tokens as the teacher has them: projected, resized, normalised, and the gradients of two. */
const FEATURE_COPIES = 5;
/** Node, ONNX Runtime and sharp before the first batch. */
const BASE_BYTES = 300 * MB;
/** Crops made ahead of the step, in batches. */
const BATCHES_AHEAD = 3;

/** What the estimate goes by. */
export type Sized = Pick<TrainConfig, "model" | "crops" | "head" | "mask"> & {
  readonly objective: Pick<TrainConfig["objective"], "ibotWeight" | "gramWeight">;
  readonly gram: Pick<TrainConfig["gram"], "sizePx" | "useEma" | "level">;
  readonly train: Pick<TrainConfig["train"], "batchSize" | "accumulate" | "checkpointing">;
  readonly data: Pick<TrainConfig["data"], "cacheMb">;
  /** A frozen teacher, which `model` then is, and what learns from it. */
  readonly distill?: Pick<TrainConfig["distill"], "objective" | "students">;
};

export interface MemoryEstimate {
  readonly parameterBytes: number;
  readonly activationBytes: number;
  readonly headBytes: number;
  readonly cropBytes: number;
  /** A frozen teacher's pass. */
  readonly teacherBytes: number;
  /** Gram matrices, and the Gram teacher's pass. */
  readonly gramBytes: number;
  readonly totalBytes: number;
}

/** The size triples of a run's steps: its mixture, or its single sizes. */
export function sizesOf({ crops, gram }: Pick<Sized, "crops" | "gram">): readonly CropSizes[] {
  const { globalSizePx, localSizePx, sizes } = crops;
  return sizes.length > 0 ? sizes : [{ globalSizePx, localSizePx, gramSizePx: gram.sizePx, ratio: 1 }];
}

function tokensOf({ patchSizePx, registers }: Sized["model"], sizePx: number): number {
  return Math.floor(sizePx / patchSizePx) ** 2 + 1 + registers;
}

/** Values of all maps of a ConvNeXt or ResNet for one crop; the first stage is at a quarter of the size. */
function mapValues(model: ModelConfig, sizePx: number): number {
  const { depths, widths } = stagesOf(model);
  return widths.reduce((sum, c, i) => sum + (depths[i] ?? 0) * c * Math.ceil(sizePx / (4 * 2 ** i)) ** 2, 0);
}

function blockValues(model: ModelConfig): number {
  const hidden = (model.ffn === "mlp" ? 2 : 4) * (hiddenWidth(model) / model.width);
  return KEPT_PER_BLOCK + hidden + (model.layerScale > 0 ? 2 : 0);
}

/** Bytes kept between forward and backward for `crops` crops of one size; resolution groups run one after the other. */
function groupBytes({ model, train }: Sized, sizePx: number, crops: number): number {
  if (model.family !== "vit") {
    const maps = 4 * crops * mapValues(model, sizePx);
    return train.checkpointing ? maps * 2 : maps * KEPT_PER_PIXEL[model.family];
  }
  const tokens = tokensOf(model, sizePx);
  const perBlock = 4 * crops * tokens * model.width;
  const attention = 8 * crops * model.heads * Math.min(tokens, 512) ** 2;
  const kept = blockValues(model);
  return (train.checkpointing ? perBlock * (model.depth + kept) : perBlock * kept * model.depth) + attention;
}

/** A pass without gradients keeps one block's values. */
function passBytes(model: ModelConfig, sizePx: number, crops: number): number {
  return model.family === "vit"
    ? 4 * crops * tokensOf(model, sizePx) * model.width * blockValues(model)
    : 4 * crops * mapValues(model, sizePx);
}

/** Unit tokens of the teacher for the whole batch; of each student its projected ones, brought to the teacher's grid, and their gradients. */
function featureBytes({ train, model, distill }: Sized, globalSizePx: number): number {
  const values = 2 * train.batchSize * tokensOf(model, globalSizePx) * model.width;
  return 4 * values * (train.accumulate + FEATURE_COPIES * (distill?.students.length ?? 0));
}

/** Student's rows with what their backward pass wants; with iBOT the masked patches of the micro-batch, and the teacher's of the whole batch. */
function headBytes(config: Sized, globalSizePx: number): number {
  if (config.distill?.objective === "features") return featureBytes(config, globalSizePx);
  const { crops, head, train, mask, model, objective } = config;
  const rowBytes = ({ prototypes, hidden, bottleneck, layers }: Sized["head"]): number =>
    4 * (3 * prototypes + 4 * hidden * Math.max(0, layers - 1) + 2 * bottleneck);
  const dino = (2 + crops.localCount) * train.batchSize * rowBytes(head);
  if (objective.ibotWeight === 0) return dino;
  const patches = Math.floor(globalSizePx / model.patchSizePx) ** 2;
  const masked = mostMasked(mask, { images: train.batchSize, accumulate: train.accumulate, patches });
  const own = ibotHead(head);
  return dino + masked * rowBytes(own) + 8 * masked * train.accumulate * own.prototypes;
}

function gramBytes(config: Sized, { globalSizePx, gramSizePx }: CropSizes): number {
  const { model, gram, train, objective } = config;
  if (objective.gramWeight === 0) return 0;
  const crops = 2 * train.batchSize;
  const patches = Math.floor(globalSizePx / model.patchSizePx) ** 2;
  const matrices = gram.level === "image" ? crops * patches ** 2 : (crops * patches) ** 2;
  if (gram.useEma) return 4 * GRAM_COPIES * matrices;
  const seen = gramSizePx === 0 ? globalSizePx : gramSizePx;
  return 4 * GRAM_COPIES * matrices + passBytes(model, seen, crops);
}

function cropBytes({ crops, train, data, objective, gram, model }: Sized, sizes: CropSizes): number {
  const anchored = objective.gramWeight > 0 && !gram.useEma;
  const gramPixels = anchored ? 2 * (sizes.gramSizePx === 0 ? sizes.globalSizePx : sizes.gramSizePx) ** 2 : 0;
  const pixels = 2 * sizes.globalSizePx ** 2 + crops.localCount * sizes.localSizePx ** 2 + gramPixels;
  return 4 * model.channels * pixels * train.batchSize * Math.max(BATCHES_AHEAD, train.accumulate) + data.cacheMb * MB;
}

type Counted = Pick<Sized, "model" | "head" | "distill"> & Partial<Pick<Sized, "objective" | "gram">>;

/** Parameters of one network with its heads, or with its projections to the teacher's width. */
function networkParameters({ model: teacher, head, objective, distill }: Counted, model: ModelConfig): number {
  const backbone = backboneParameters(model);
  if (distill?.objective === "features") return backbone + (model === teacher ? 0 : 2 * (model.width + 1) * teacher.width);
  const ibot = (objective?.ibotWeight ?? 0) > 0 && head.ibotSeparate ? headParameters(ibotHead(head), model.width) : 0;
  return backbone + headParameters(head, model.width) + ibot;
}

/** The networks that learn. */
function learners({ model, distill }: Pick<Sized, "model" | "distill">): readonly ModelConfig[] {
  const students = (distill?.students ?? []).map((student) => student.model);
  return students.length > 0 ? students : [model];
}

/** Parameters of what learns, of a frozen teacher, and of a Gram teacher. */
function countAll(config: Counted): { readonly learning: number; readonly frozen: number; readonly gram: number } {
  const { model, objective, gram } = config;
  return {
    learning: learners(config).reduce((sum, own) => sum + networkParameters(config, own), 0),
    frozen: (config.distill?.students.length ?? 0) > 0 ? networkParameters(config, model) : 0,
    gram: (objective?.gramWeight ?? 0) > 0 && gram?.useEma !== true ? backboneParameters(model) : 0,
  };
}

function parameters(config: Sized): number {
  const { learning, frozen, gram } = countAll(config);
  return PARAMETER_COPIES * learning + frozen + gram;
}

/** The memory a run takes at its highest, over its sizes. The activations' factor is calibrated on ViT-S/16, batch 8: 1.1 GB for the global group (contracts 3). */
export function estimateMemory(config: Sized): MemoryEstimate {
  const parameterBytes = 4 * parameters(config);
  const b = config.train.batchSize;
  const each = sizesOf(config).map((sizes) => {
    // students and groups of crops come one after the other, and share an arena
    const activations = learners(config).flatMap((model) => [
      groupBytes({ ...config, model }, sizes.globalSizePx, 2 * b),
      groupBytes({ ...config, model }, sizes.localSizePx, config.crops.localCount * b),
    ]);
    const parts = {
      parameterBytes,
      activationBytes: Math.max(...activations),
      teacherBytes: (config.distill?.students.length ?? 0) > 0 ? passBytes(config.model, sizes.globalSizePx, 2 * b) : 0,
      headBytes: headBytes(config, sizes.globalSizePx),
      cropBytes: cropBytes(config, sizes),
      gramBytes: gramBytes(config, sizes),
    };
    return { ...parts, totalBytes: BASE_BYTES + Object.values(parts).reduce((a, c) => a + c, 0) };
  });
  return each.reduce((a, c) => (c.totalBytes > a.totalBytes ? c : a));
}

/** Bytes of one checkpoint: of every network that learns student, average and the optimizer's two moments; a Gram teacher once. */
export function estimateCheckpointBytes(config: Counted): number {
  const { learning, gram } = countAll(config);
  return 4 * (4 * learning + gram);
}

/** Bytes of a run's checkpoints, and of a frozen teacher, which the run keeps once. */
export function estimateRunBytes(config: Counted & Pick<TrainConfig, "checkpoint">): number {
  return estimateCheckpointBytes(config) * (config.checkpoint.keepLast + 1) + 4 * countAll(config).frozen;
}
