/** @file Reads the shared reference vectors of the optimizers for tests. */
import { expect } from "vitest";
import { hasGolden as hasCases, loadGolden } from "../../core/testing/golden.ts";
import { ADAMW_DEFAULTS } from "../adamw.ts";
import type { Clip } from "../clip.ts";
import type { OptimizerConfig } from "../config.ts";
import { LARS_DEFAULTS } from "../lars.ts";
import { SGD_DEFAULTS } from "../sgd.ts";

/** Whether these cases of `schedules` can be loaded. */
export function hasGolden(...names: readonly string[]): boolean {
  return hasCases("schedules", ...names);
}

/** The JSON of a case. The caller names the shape it expects. */
export function goldenJson<T>(name: string): T {
  return loadGolden("schedules", name).json as T; // our own reference files, shape as in golden/README.md
}

/** All float32 tensors of a case. */
export function goldenTensors(name: string): Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }> {
  const { tensors } = loadGolden("schedules", name);
  return new Map([...tensors].flatMap(([key, { shape, data }]) => (data instanceof Float32Array ? [[key, { shape, data }]] : [])));
}

export interface OptimizerGolden {
  readonly config: { readonly lr: readonly number[]; readonly wd: readonly number[] };
  readonly grad_norms: readonly number[];
}

export const GOLDEN_CASES: readonly (readonly [name: string, config: OptimizerConfig, clip: Clip])[] = [
  ["adamw_global_clip", ADAMW_DEFAULTS, { kind: "global", norm: 3 }],
  ["adamw_per_parameter_clip", ADAMW_DEFAULTS, { kind: "per-parameter", norm: 3 }],
  ["adamw_beta2_099", { ...ADAMW_DEFAULTS, beta2: 0.99 }, { kind: "none" }],
  ["sgd_momentum", SGD_DEFAULTS, { kind: "global", norm: 3 }],
  ["lars_dino", LARS_DEFAULTS, { kind: "none" }],
];

/** The tolerance of the optimizer cases: atol 2e-6, rtol 1e-4. */
export function expectNear(mine: ArrayLike<number>, reference: ArrayLike<number>, what: string): void {
  expect(mine.length, what).toBe(reference.length);
  const isFar = (r: number, i: number): boolean => !(Math.abs((mine[i] ?? NaN) - r) <= 2e-6 + 1e-4 * Math.abs(r));
  const far = Array.from(reference).findIndex(isFar);
  if (far >= 0) expect.fail(`${what}[${far}] is ${mine[far]}, the reference has ${reference[far]}`);
}
