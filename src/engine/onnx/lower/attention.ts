/** @file Lowering of attention and its gradient: in chunks of images and heads where there are many tokens. */
import { sizeOf } from "../../../core/index.ts";
import type { Node } from "../../ir/index.ts";
import { arg, type Lowering } from "./context.ts";
import { matmul, softmaxGradOf } from "./product.ts";

const SOFTMAX = { attrs: { axis: { int: -1 } } } as const;
/** Up to this many keys the scores of all images and heads are made at once (contracts 4). */
const WHOLE_TOKENS = 512;
/** Scores of one chunk: 4 MiB of float32, three heads of 513 tokens. */
const CHUNK_SCORES = 2 ** 20;

/** Sizes of one attention, and how many (image, head) pairs each chunk has. */
interface Sizes {
  readonly groups: number;
  readonly t: number;
  readonly n: number;
  readonly d: number;
  readonly chunks: readonly number[];
}

/** How many (image, head) pairs run together; one entry where all do. */
export function chunkSizes({ groups, t, n }: Pick<Sizes, "groups" | "t" | "n">): number[] {
  const most = n <= WHOLE_TOKENS ? groups : Math.min(groups, Math.max(1, Math.floor(CHUNK_SCORES / (t * n))));
  return Array.from({ length: Math.ceil(groups / most) }, (_, i) => Math.min(most, groups - i * most));
}

/** A portable model may have sizes that are not fixed, so it has no chunks. */
function sizesOf(to: Lowering, q: readonly number[], k: readonly number[]): Sizes {
  const [t = 1, d = 1] = q.slice(2);
  const n = k[2] ?? 1;
  const groups = sizeOf(q.slice(0, 2));
  return { groups, t, n, d, chunks: to.target === "onnx" ? [groups] : chunkSizes({ groups, t, n }) };
}

type Step = (parts: readonly string[], rank: number) => string;

/** Runs `step` on chunks of the operands `[b,h,…,d]` and joins what it makes; on whole operands where one chunk is enough. */
function inChunks(
  to: Lowering,
  operands: readonly { name: string; tokens: number }[],
  { sizes, step }: { sizes: Sizes; step: Step },
): string {
  const { groups, d, chunks } = sizes;
  if (chunks.length === 1)
    return step(
      operands.map((o) => o.name),
      4,
    );
  const parts = operands.map(({ name, tokens }) =>
    to.emitAll("Split", [to.emit("Reshape", [name, to.i64([groups, tokens, d])]), to.i64(chunks)], {
      attrs: { axis: { int: 0 } },
      outputs: chunks.length,
    }),
  );
  const made = chunks.map((_, i) =>
    step(
      parts.map((p) => p[i] ?? ""),
      3,
    ),
  );
  return to.emit("Concat", made, { attrs: { axis: { int: 0 } } });
}

function probabilities(to: Lowering, [q, k]: readonly [string, string], { scale, rank }: { scale: number; rank: number }): string {
  return to.emit("Softmax", [matmul(to, [q, k], { transA: false, transB: true, alpha: scale, rank })], SOFTMAX);
}

/** softmax(s q kᵀ) v. */
export function lowerAttention(node: Node<"attention">, to: Lowering): readonly string[] {
  const [q, k] = [arg(node, 0), arg(node, 1)];
  const sizes = sizesOf(to, q.shape, k.shape);
  const { scale } = node.params;
  const operands = node.inputs.map((v) => ({ name: to.name(v), tokens: v.shape[2] ?? 1 }));
  const step: Step = ([queries = "", keys = "", values = ""], rank) =>
    to.emit("MatMul", [probabilities(to, [queries, keys], { scale, rank }), values]);
  const y = inChunks(to, operands, { sizes, step });
  return [sizes.chunks.length === 1 ? y : to.emit("Reshape", [y, to.i64(q.shape)])];
}

/**
 * Only q, k and v were kept: the probabilities P are made again (contracts 4).
 * dV = Pᵀ dO, dP = dO Vᵀ, dS = P (dP − Σ dP P), dQ = s dS K, dK = s dSᵀ Q.
 * A chunk's three parts leave it as one tensor, so that ONNX Runtime, which walks back from the outputs, ends a chunk before the next.
 */
export function lowerAttentionGrad(node: Node<"attentionGrad">, to: Lowering): readonly string[] {
  const [q, k] = [arg(node, 1), arg(node, 2)];
  const sizes = sizesOf(to, q.shape, k.shape);
  const { scale } = node.params;
  const grads = ([d = "", queries = "", keys = "", values = ""]: readonly string[], rank: number): string[] => {
    const p = probabilities(to, [queries, keys], { scale, rank });
    const ds = softmaxGradOf(to, matmul(to, [d, values], { transA: false, transB: true, alpha: 1, rank }), p);
    return [
      matmul(to, [ds, keys], { transA: false, transB: false, alpha: scale, rank }),
      matmul(to, [ds, queries], { transA: true, transB: false, alpha: scale, rank }),
      matmul(to, [p, d], { transA: true, transB: false, alpha: 1, rank }),
    ];
  };
  const operands = node.inputs.map((v) => ({ name: to.name(v), tokens: v.shape[2] ?? 1 }));
  if (sizes.chunks.length === 1)
    return grads(
      operands.map((o) => o.name),
      4,
    );
  const joined = inChunks(to, operands, {
    sizes,
    step: (parts, rank) => to.emit("Concat", grads(parts, rank), { attrs: { axis: { int: 1 } } }),
  });
  const { t, n } = sizes;
  const parts = to.emitAll("Split", [joined, to.i64([t, n, n])], { attrs: { axis: { int: 1 } }, outputs: 3 });
  return parts.map((part, i) => to.emit("Reshape", [part, to.i64(arg(node, i + 1).shape)]));
}
