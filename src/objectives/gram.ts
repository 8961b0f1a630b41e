/** @file Gram anchoring: patches keep the similarities to each other that they have in an earlier teacher. DINOv3 spec §3.6. */
import { ConfigError } from "../core/index.ts";
import {
  dims,
  div,
  dot,
  l2Normalize,
  maximum,
  mul,
  reduceSumSquare,
  reshape,
  stopGradient,
  sub,
  sumAll,
  type Tensor,
} from "../engine/trace/index.ts";
import { atLeastOne } from "./rows.ts";

export interface GramLossOptions {
  /** Whether patches are L2-normalised, so that the Gram matrix holds cosines; true by default. */
  readonly normalize?: boolean;
  /** One Gram matrix an image, or one of all patches of all images; "image" by default. */
  readonly level?: "image" | "batch";
  /** Negative similarities of both count as 0. */
  readonly removeNegative?: boolean;
  /** Negative similarities of the teacher count as 0. The reference's second step, on the student's, does nothing (pitfall 16). */
  readonly removeOnlyTeacherNegative?: boolean;
  /** Which patches count: `mask` `[n, p]` is 1 where a patch was masked. Other than "all" needs level "batch". */
  readonly tokens?: { readonly mask: Tensor; readonly used: "all" | "masked" | "unmasked" };
}

/**
 * Final-normed patches of the student and of the Gram teacher, both `[n, p, d]` -> scalar: the mean over entries (i, j) of
 *   (xᵢ · xⱼ − gᵢ · gⱼ)²,   x, g rows divided by max(‖row‖, 1e-12)
 * that is over n · p² entries at level "image" and over (patches that count)² at level "batch". The paper writes the sum; its weights belong
 * to the mean (pitfall 16). No gradient reaches the teacher. Throws ShapeError, and ConfigError for options that exclude each other.
 */
export function gramLoss(student: Tensor, teacher: Tensor, options: GramLossOptions = {}): Tensor {
  const { n, p, d } = dims(student, "n p d");
  dims(teacher, `${n} ${p} ${d}`);
  checkOptions(options);
  const { normalize = true, level = "image", removeNegative = false, removeOnlyTeacherNegative = false, tokens } = options;
  const used = usedPatches(tokens, [n, p]);
  const rows = (x: Tensor): Tensor => {
    const unit = normalize ? l2Normalize(x) : x;
    const flat = level === "batch" ? reshape(unit, [n * p, d]) : unit;
    return used === undefined ? flat : mul(flat, used); // a row of zeros adds nothing to either matrix
  };
  const similarities = (x: Tensor, clip: boolean): Tensor => {
    const gram = dot(x, x, { transB: true });
    return clip ? maximum(gram, 0) : gram;
  };
  const target = similarities(rows(stopGradient(teacher)), removeNegative || removeOnlyTeacherNegative);
  const apart = sub(similarities(rows(student), removeNegative), target);
  const sum = reduceSumSquare(
    apart,
    apart.shape.map((_, i) => i),
  );
  if (used === undefined) return mul(sum, 1 / apart.shape.reduce((a, b) => a * b, 1));
  const count = atLeastOne(sumAll(used));
  return div(sum, mul(count, count));
}

/** `[n·p, 1]` of 1 for patches that count and 0 for the others; undefined where all do. */
function usedPatches(tokens: GramLossOptions["tokens"], [n, p]: readonly [number, number]): Tensor | undefined {
  if (tokens === undefined || tokens.used === "all") return undefined;
  dims(tokens.mask, `${n} ${p}`);
  const column = reshape(tokens.mask, [n * p, 1]);
  return tokens.used === "masked" ? column : sub(1, column);
}

function checkOptions({ level = "image", removeNegative, removeOnlyTeacherNegative, tokens }: GramLossOptions): void {
  if (removeNegative === true && removeOnlyTeacherNegative === true)
    throw new ConfigError("Cannot take the Gram loss: removeNegative and removeOnlyTeacherNegative are both set; set one of them", {
      keyPath: "removeNegative",
    });
  if (level === "image" && tokens !== undefined && tokens.used !== "all")
    throw new ConfigError(
      `Cannot take the Gram loss of ${tokens.used} patches image by image: images differ in how many there are; set level to "batch"`,
      { keyPath: "level" },
    );
}
