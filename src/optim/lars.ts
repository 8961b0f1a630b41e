/** @file LARS as DINO uses it: momentum SGD whose step is scaled per layer by ‖p‖/‖g‖ (You et al. 2017; spec §1.5). */

export interface LarsConfig {
  readonly kind: "lars";
  readonly momentum: number;
  /** Trust coefficient η. */
  readonly eta: number;
}

/** DINO's constants for `--optimizer lars`. */
export const LARS_DEFAULTS: LarsConfig = { kind: "lars", momentum: 0.9, eta: 0.001 };

/** Sums over one parameter from which both norms follow. */
export interface LarsSums {
  /** Σ g² of the raw gradient. */
  readonly gradGrad: number;
  /** Σ p². */
  readonly paramParam: number;
  /** Σ g·p of the raw gradient. */
  readonly gradParam: number;
}

/**
 * The trust ratio η‖p‖/‖d‖ of d = clip·g + wd·p, 1 when either norm is 0.
 * ‖d‖² = clip²Σg² + 2·clip·wd·Σgp + wd²Σp², so one pass over memory serves clipping and LARS.
 */
export function larsTrust(sums: LarsSums, options: { readonly eta: number; readonly clip: number; readonly weightDecay: number }): number {
  const { eta, clip, weightDecay } = options;
  const squared = clip * clip * sums.gradGrad + 2 * clip * weightDecay * sums.gradParam + weightDecay * weightDecay * sums.paramParam;
  return squared > 0 && sums.paramParam > 0 ? (eta * Math.sqrt(sums.paramParam)) / Math.sqrt(squared) : 1;
}
