/** @file From the run's configuration to what the method, the optimizer and the schedules want. */
import {
  dino,
  dinov2,
  type Dinov2Config,
  dinov3,
  distill,
  distillFeatures,
  type GramConfig,
  type HeadConfig,
  type Method,
  simclr,
  type StudentConfig,
} from "../../methods/index.ts";
import { backboneWidth, type LoraConfig } from "../../nn/index.ts";
import { InternalError } from "../../core/index.ts";
import type { StudentModel, TrainConfig } from "../config/index.ts";
import { backboneOf } from "./networks.ts";
import { imagesOfStep, ownSizes, type Sizes } from "./variants.ts";

/** What all methods take of a configuration. */
function familyConfig(config: TrainConfig, { globalSizePx, localSizePx }: Sizes): Dinov2Config {
  const { crops, objective, model, train, mask } = config;
  const { centering, centerMomentum, sinkhornIterations, koleoWeight, koleoGroup, koleoTopK, ibotWeight, studentTemp } = objective;
  const { dropPath, dropPathKind, dropPathUniform } = model;
  const own = config.head.ibotSeparate;
  const { ibotPrototypes, ibotHidden, ibotBottleneck } = config.head;
  const head = headOf(config);
  return {
    backbone: backboneOf(model),
    head,
    ...loraOf(config),
    ibotHead: own ? { ...head, prototypes: ibotPrototypes, hidden: ibotHidden, bottleneck: ibotBottleneck } : "shared",
    mask,
    crops: { globalSizePx, localSizePx, localCount: crops.localCount },
    objective: {
      centering,
      centerMomentum,
      sinkhornIterations,
      koleoWeight,
      koleoGroup,
      koleoTopK,
      ibotWeight,
      studentTemp,
      ...(config.method === "dinov3" ? { localWeight: "localWeight" } : {}),
    },
    dropPath,
    dropPathKind,
    dropPathUniform,
    batchSize: imagesOfStep(config),
    microBatchSize: train.batchSize,
    groupSize: train.groupSize,
  };
}

/** Adapters on every linear layer of the blocks. */
function loraOf({ init }: Pick<TrainConfig, "init">): { readonly lora?: LoraConfig } {
  if (init.loraRank === 0) return {};
  return { lora: { rank: init.loraRank, alpha: init.loraAlpha, targets: ["attn.qkv", "attn.proj", "mlp"] } };
}

function headOf({ head, model }: Pick<TrainConfig, "head" | "model">): HeadConfig {
  const { hidden, bottleneck, prototypes, layers, batchNorm, normLastLayer, lastLayer } = head;
  return { width: backboneWidth(backboneOf(model)), hidden, bottleneck, prototypes, layers, batchNorm, normLastLayer, lastLayer };
}

/** Gram anchoring, where its loss has a weight. */
function gramOf({ gram, objective }: Pick<TrainConfig, "gram" | "objective">, { globalSizePx, gramSizePx }: Sizes): { gram?: GramConfig } {
  if (objective.gramWeight === 0) return {};
  const { useEma, normalize, level, removeNegative, removeOnlyTeacherNegative, tokens } = gram;
  const sizePx = useEma || gramSizePx === 0 ? globalSizePx : gramSizePx;
  return { gram: { sizePx, useEma, normalize, level, removeNegative, removeOnlyTeacherNegative, tokens } };
}

function methodAt(config: TrainConfig, sizes: Sizes): Method {
  const family = familyConfig(config, sizes);
  if (config.distill.students.length > 0) return distillationOf(config, family);
  switch (config.method) {
    case "dino":
      return dino(family);
    case "dinov2":
      return dinov2(family);
    case "dinov3":
      return dinov3({ ...family, ...gramOf(config, sizes) });
    case "simclr":
      return simclr({ ...family, objective: { temperature: config.objective.studentTemp } });
  }
}

function distillationOf({ distill: { students, objective: by }, objective }: TrainConfig, family: Dinov2Config): Method {
  if (by === "features") {
    const pupils = students.map(({ name, model }) => ({ name, backbone: backboneOf(model), dropPath: model.dropPath }));
    return distillFeatures({ teacher: family, students: someOf(pupils), objective });
  }
  return distill({ teacher: family, students: someOf(students.map((student) => studentOf(family, student))) });
}

/** The configuration was checked: there are students. */
function someOf<T>([first, ...others]: readonly T[]): [T, ...T[]] {
  if (first === undefined) throw new InternalError("Cannot distill: there are no students");
  return [first, ...others];
}

/** A student has heads of its own, like the teacher's but for the width that goes in. DINOv3 §5. */
function studentOf({ head, ibotHead }: Dinov2Config, { name, model }: StudentModel): StudentConfig {
  const backbone = backboneOf(model);
  const width = backboneWidth(backbone);
  return {
    name,
    backbone,
    head: { ...head, width },
    ibotHead: ibotHead === "shared" ? ibotHead : { ...ibotHead, width },
    dropPath: model.dropPath,
  };
}

/** The method of a run. */
export function methodOf(config: TrainConfig): Method {
  return methodAt(config, ownSizes(config));
}

/** The method at each of the sizes of a mixed-resolution stage; none where there is one size. */
export function variantsOf(config: TrainConfig): Method[] {
  return config.crops.sizes.map((sizes) => methodAt(config, sizes));
}
