/** @file Which tensors of a file are the backbone's, and of which family it is. */
import { FormatError } from "../../core/index.ts";
import { detectConvNeXt } from "./convnext.ts";
import { detectDialect } from "./detect.ts";
import type { Dialect, Naming } from "./dialects.ts";
import type { Shapes } from "./links.ts";
import { detectResNet } from "./resnet.ts";

/** What each backbone of a family has exactly once; what stands before its name stands before all: ViT, ConvNeXt (all namings), ResNet. */
const MARKS = [
  /^((?:.*\.)?)(?:embeddings\.)?cls_token$/,
  /^((?:.*\.)?)(?:downsample_layers\.0\.0|stages\.0\.downsample_layers\.0|stem\.0)\.weight$/,
  /^((?:.*\.)?)layer1\.0\.conv1\.weight$/,
] as const;

/** Lower is better: the teacher is what a checkpoint is for, the student only where there is no other. */
function rankOf(root: string): number {
  const words = root.split(".");
  if (words.some((w) => w.includes("gram"))) return 3;
  if (words.includes("teacher")) return 0;
  return words.includes("student") ? 2 : 1;
}

function rootOf(name: string): string | undefined {
  for (const mark of MARKS) {
    const root = mark.exec(name)?.[1];
    if (root !== undefined) return root.replace(/embeddings\.$/, "");
  }
  return undefined;
}

/**
 * What stands before the backbone's names: nothing, or prefixes such as `module.`, `backbone.`, `vit.`, `teacher.backbone.`; of several
 * backbones the teacher's, then one that is no student's. Throws FormatError where there is none, or no way to choose.
 */
export function backboneRoot(names: Iterable<string>, file: string): string {
  const all = [...names];
  const ranked = all.flatMap((name) => rootOf(name) ?? []).toSorted((a, b) => rankOf(a) - rankOf(b));
  const [best, second] = ranked;
  if (best === undefined)
    throw new FormatError(
      `Cannot read weights of "${file}": it has no class token among ${all.slice(0, 4).join(", ")} and ${Math.max(0, all.length - 4)} others, nor the stem of a ConvNeXt or ResNet, so it is no backbone of the DINO family; give a checkpoint of a backbone`,
      { file },
    );
  if (second !== undefined && rankOf(second) === rankOf(best))
    throw new FormatError(
      `Cannot read weights of "${file}": it holds several backbones, under ${ranked.map((r) => `"${r}"`).join(", ")}; save the one you want by itself`,
      { file },
    );
  return best;
}

/** A name below the root, as an unchunked checkpoint has it: `blocks.0.3.norm1.weight` -> `blocks.3.norm1.weight` (spec §6, 23). */
export function plainName(name: string, root: string): string | undefined {
  if (!name.startsWith(root)) return undefined;
  return name.slice(root.length).replace(/^blocks\.\d+\.(\d+\.)/, "blocks.$1");
}

/** A family, and whose names its tensors have. */
export type NetworkNames =
  | { readonly family: "vit"; readonly dialect: Dialect }
  | { readonly family: "convnext"; readonly naming: Naming }
  | { readonly family: "resnet" };

/** Whose names these are; undefined for names of nobody. */
export function detectNames(shapes: Shapes): NetworkNames | undefined {
  const dialect = detectDialect(shapes);
  if (dialect !== undefined) return { family: "vit", dialect };
  const naming = detectConvNeXt(shapes);
  if (naming !== undefined) return { family: "convnext", naming };
  return detectResNet(shapes) ? { family: "resnet" } : undefined;
}
