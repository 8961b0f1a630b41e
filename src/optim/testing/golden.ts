/** @file Reads the shared reference vectors of the optimizers for tests. */
import { existsSync, readFileSync } from "node:fs";
import { expect } from "vitest";
import { ADAMW_DEFAULTS } from "../adamw.ts";
import type { Clip } from "../clip.ts";
import type { OptimizerConfig } from "../config.ts";
import { LARS_DEFAULTS } from "../lars.ts";
import { SGD_DEFAULTS } from "../sgd.ts";

const DIR = new URL("../../../../shared/golden/schedules/", import.meta.url);

export const hasGolden: boolean = existsSync(DIR);

/** The JSON of a case. The caller names the shape it expects. */
export function goldenJson<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`${name}.json`, DIR), "utf8")) as T; // our own reference files, shape as in golden/README.md
}

/** All float32 tensors of a case. */
export function goldenTensors(name: string): Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }> {
  const bytes = readFileSync(new URL(`${name}.safetensors`, DIR));
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  type Header = Record<string, { shape: number[]; data_offsets: [number, number] }>;
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerBytes)) as Header; // the safetensors header, written by the reference
  const tensors = Object.entries(header).filter(([key]) => key !== "__metadata__");
  return new Map(
    tensors.map(
      ([
        key,
        {
          shape,
          data_offsets: [from, to],
        },
      ]) => {
        const copy = Uint8Array.from(bytes.subarray(8 + headerBytes + from, 8 + headerBytes + to));
        return [key, { shape, data: new Float32Array(copy.buffer) }];
      },
    ),
  );
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
