/** @file The vision transformer of DINO, DINOv2 and DINOv3: one pure function; the configuration tells them apart. DINO spec §1.6, §2.3, §3.1. */
import { concat, reshape, slice, split, type Tensor } from "../engine/trace/index.ts";
import { applyBlock, type Drop, normOf } from "./block.ts";
import { embed, gridOf } from "./embed.ts";
import { type Params, scoped } from "./params.ts";
import { givenRotation, gridRotation, type Rope, type Rotation } from "./rotary.ts";
import { checkViT, prefixTokens, type ViTConfig } from "./vit-config.ts";

export type { ViTConfig } from "./vit-config.ts";
export { vitSpecs } from "./vit-specs.ts";

/** Stochastic depth of each block and branch. Blocks share their programs where all drop alike (subsets: of the same size). */
export type DropPath = (block: number, branch: "attn" | "mlp") => Drop;

export interface ViTOptions {
  readonly dropPath?: DropPath;
  /** float32 `[b, p]`, 1 where the mask token stands in for a patch. */
  readonly mask?: Tensor;
  /** Tables `[p, headDim]` for a block, augmented by `ropeTables`; the grid's own where it gives undefined. */
  readonly rope?: (block: number) => Rope | undefined;
  /** Whether these are local crops in training: `local_cls_norm` then norms class token and registers, where the network has it. */
  readonly isLocal?: boolean;
  /** Called with the token sequence `[b, 1 + r + p, d]` after embedding (0) and after each block. */
  readonly onHidden?: (index: number, tokens: Tensor) => void;
  /** Called with the attention probabilities of the last block, `[b, h, queries, tokens]`. */
  readonly onAttention?: (probabilities: Tensor) => void;
}

export interface ApplyViTOptions extends ViTOptions {
  readonly config: ViTConfig;
  /** `"cls"`: only the class token is wanted, so the last block works for it alone (the same numbers, less work). */
  readonly output?: "cls" | "tokens";
}

/** The rotation of each block: undefined where positions are learned. */
function rotations(images: Tensor, { config, rope }: ApplyViTOptions): (block: number) => Rotation | undefined {
  if (config.positions !== "rope") return () => undefined;
  const { builder } = images;
  const grid = gridOf(images, config);
  let plain: Rotation | undefined;
  return (block) => {
    const given = rope?.(block);
    return given === undefined ? (plain ??= gridRotation(builder, config, grid)) : givenRotation(given, config, grid.rows * grid.columns);
  };
}

/** The tokens before the final norm. Each block is a region of its own, the unit of stages. */
function blocks(params: Params, images: Tensor, options: ApplyViTOptions): Tensor {
  const { config, output = "tokens", onHidden, onAttention, dropPath, mask } = options;
  const { builder } = images;
  let x = builder.inRegion("embed", () => embed(params, images, { config, mask }));
  onHidden?.(0, x);
  const rotationOf = rotations(images, options);
  for (let index = 0; index < config.depth; index++) {
    const isLast = index === config.depth - 1;
    x = builder.inRegion(`blocks.${index}`, () =>
      applyBlock(scoped(params, `blocks.${index}.`), x, {
        config,
        clsOnly: output === "cls" && isLast,
        rotation: rotationOf(index),
        drop: (branch) => dropPath?.(index, branch),
        onAttention: isLast ? onAttention : undefined,
      }),
    );
    onHidden?.(index + 1, x);
  }
  return x;
}

/**
 * The final norm of tokens `[b, t, d]` that begin with class token and registers, or of the class token alone `[b, 1, d]`. Class token and
 * registers have their own where the network says so: `local_cls_norm` for local crops in training, else `cls_norm`. DINOv3 spec §3.1.
 */
export function finalNorm(
  params: Params,
  tokens: Tensor,
  { config, isLocal = false }: { readonly config: ViTConfig; readonly isLocal?: boolean },
): Tensor {
  const own = isLocal && config.localClsNorm === true ? "local_cls_norm." : config.untieClsAndPatchNorms === true ? "cls_norm." : "norm.";
  const t = tokens.shape[1] ?? 1;
  const first = prefixTokens(config);
  if (own === "norm." || t === 1) return normOf(scoped(params, own), tokens, config);
  const [prefix, patches] = split(tokens, 1, [first, t - first]) as [Tensor, Tensor]; // split in two
  return concat([normOf(scoped(params, own), prefix, config), normOf(scoped(params, "norm."), patches, config)], 1);
}

/**
 * The backbone: images `[b, c, y, x]` -> the final-normed class token `[b, d]` (`output: "cls"`), or all tokens
 * `[cls, registers, patches]`, `[b, 1 + r + p, d]`. Throws ConfigError, ShapeError and, for a mask without a mask token, RangeError.
 */
export function applyViT(params: Params, images: Tensor, options: ApplyViTOptions): Tensor {
  const { config, output = "tokens" } = options;
  checkViT(config);
  const x = blocks(params, images, options);
  return images.builder.inRegion("norm", () => {
    const y = finalNorm(params, x, options);
    return output === "cls" ? reshape(y, [y.shape[0] ?? 1, config.width]) : y;
  });
}

/** Final-normed features of a ViT. */
export interface ViTFeatures {
  /** `[b, d]`. */
  readonly cls: Tensor;
  /** `[b, r, d]`, undefined where there are none. */
  readonly registers: Tensor | undefined;
  /** `[b, p, d]`, row by row of the grid. */
  readonly patches: Tensor;
}

/** `applyViT` with its tokens told apart: what DINOv2 and DINOv3 want of global crops. */
export function vitFeatures(params: Params, images: Tensor, options: ViTOptions & { readonly config: ViTConfig }): ViTFeatures {
  const { config } = options;
  const tokens = applyViT(params, images, { ...options, output: "tokens" });
  const first = prefixTokens(config);
  const [b = 1, t = 1, d = 1] = tokens.shape;
  return images.builder.inRegion("norm", () => ({
    cls: reshape(slice(tokens, 1, [0, 1]), [b, d]),
    registers: first === 1 ? undefined : slice(tokens, 1, [1, first]),
    patches: slice(tokens, 1, [first, t]),
  }));
}
