/** @file How a frozen teacher teaches: by the prototypes of its heads, or, where it has none, by its features. */
import { z } from "zod";
import { ConfigError } from "../../core/index.ts";
import { type BackboneConfig, isViT } from "../../nn/index.ts";
import { type Backbone, readBackbone, resolveModelPath } from "../../weights/index.ts";
import type { DistillConfig, MethodName, ModelConfig, TeacherFacts, TrainConfig } from "../config/index.ts";
import { modelOf } from "./model-of.ts";
import { findParent, type Parent } from "./parent.ts";

/** A frozen teacher. */
export type Teacher =
  | { readonly objective: "prototypes"; readonly why: string; readonly parent: Parent }
  | { readonly objective: "features"; readonly why: string; readonly backbone: Backbone };

/** The error of a teacher that cannot teach. */
export function cannotTeach(from: string, state: string, todo: string): ConfigError {
  return new ConfigError(`Cannot distill from "${from}": ${state}; ${todo}`, { keyPath: "distill.teacher" });
}

/** Why a run has no heads to teach by; undefined where it has. */
function whyHeadless({ method, distill }: TrainConfig): string | undefined {
  if (method === "simclr") return "SimCLR has no prototypes";
  return distill.objective === "features" ? "it learned features, and has projections in the place of heads" : undefined;
}

/**
 * Opens a teacher: a run, a model folder, an id in the cache, or a file of weights. With heads it teaches by its prototypes, without by its
 * features, unless `wanted` says by what. Throws ConfigError where it cannot teach so, FormatError for weights that cannot be read.
 */
export async function openTeacher(from: string, wanted?: DistillConfig["objective"]): Promise<Teacher> {
  const parent = await findParent(from);
  const students = parent?.config.distill.students ?? [];
  if (students.length > 1)
    throw cannotTeach(from, "it trained several students", `give the folder of one, such as "${from}/exported/${students[0]?.name}/last"`);
  const lacks = parent === undefined ? "weights alone have no heads" : whyHeadless(parent.config);
  if (parent !== undefined && lacks === undefined && wanted !== "features")
    return { objective: "prototypes", why: "the teacher's run has heads, whose prototypes students learn to name", parent };
  if (wanted === "prototypes")
    throw cannotTeach(
      from,
      lacks ?? "it has no heads",
      "give the --out of a run with heads, or leave distill.objective out: features teach, too",
    );
  const backbone = await readBackbone((await resolveModelPath(from)) ?? from);
  return { objective: "features", why: `${lacks ?? "you asked for it"}: students learn its class and patch tokens`, backbone };
}

/** The method whose crops and augmentation suit a network of its kind. */
function methodOf(config: BackboneConfig): MethodName {
  if (!isViT(config)) return config.family === "convnext" ? "dinov3" : "dino";
  if (config.positions === "rope") return "dinov3";
  return (config.layerScale ?? 0) > 0 ? "dinov2" : "dino";
}

const px = z.int().min(1);
const side = z.union([
  px,
  z.object({ height: px }).transform(({ height }) => height),
  z.object({ shortest_edge: px }).transform((s) => s.shortest_edge),
]);
const numbers = z.array(z.number()).min(1);
const numberSchema = z.object({ image_mean: numbers, image_std: numbers, do_normalize: z.literal(true).default(true) });
const sizeSchema = z.object({ size: side, crop_size: side.optional() });

/** Side of the pictures that a teacher is given: its processor's, else what its kind is given. DINOv2 stores positions for 518 px, and sees 224. */
function sizeOf({ config, processor }: Backbone): number {
  const said = sizeSchema.safeParse(processor).data;
  if (said !== undefined) return said.crop_size ?? said.size;
  return isViT(config) && config.imageSizePx !== 518 ? config.imageSizePx : 224;
}

/** What the rules go by of a teacher; of one by features also its network, which is used as it is. */
export function factsOfTeacher(teacher: Teacher): { readonly teacher: TeacherFacts; readonly model?: Partial<ModelConfig> } {
  const { objective, why } = teacher;
  if (teacher.objective === "prototypes") return { teacher: { objective, why } };
  const { config, processor } = teacher.backbone;
  const seen = numberSchema.safeParse(processor).data;
  return {
    teacher: {
      objective,
      why,
      method: methodOf(config),
      sizePx: sizeOf(teacher.backbone),
      ...(seen === undefined ? {} : { mean: seen.image_mean, std: seen.image_std }),
    },
    // what changes no tensor of it: nothing of a frozen network is dropped, drawn or begun
    model: { ...modelOf(config), dropPath: 0, posEmbedInit: "normal", localClsNorm: false },
  };
}
