import { expect, test } from "vitest";
import { Rng } from "../core/index.ts";
import { expectClose } from "../core/testing/golden.ts";
import { softmax } from "../engine/trace/index.ts";
import { balance, softmaxEntropies } from "./index.ts";
import { RUNNERS, runObjective } from "./testing/run.ts";

const [ROWS, K] = [5, 7];
const rng = new Rng(8);
const LOGITS = Array.from({ length: ROWS * K }, () => 0.3 * rng.normal());
const VALID = [1, 1, 0, 1, 0];

/** −Σ p ln p of every row, as it is written down. */
function naive(p: ArrayLike<number>): number[] {
  return Array.from({ length: ROWS }, (_, r) => {
    let sum = 0;
    for (let i = r * K; i < (r + 1) * K; i++) if ((p[i] ?? 0) > 0) sum -= (p[i] ?? 0) * Math.log(p[i] ?? 0);
    return sum;
  });
}

test.each(RUNNERS)(
  "softmaxEntropies() are those of the probabilities, also where they are nearly certain; rows of zeros stay finite, %s",
  async (runner) => {
    const y = await runObjective(
      ({ input }) => {
        const z = input("z", [ROWS, K]);
        const p = softmax(z);
        return { p, h: softmaxEntropies(z, p), zeros: softmaxEntropies(z, input("none", [ROWS, K])) };
      },
      { values: { z: LOGITS.map((x) => 60 * x), none: new Float32Array(ROWS * K) }, runner },
    );
    expectClose(y.get("h"), naive(y.get("p")), { atol: 2e-5, rtol: 1e-4, what: "entropies" });
    for (const h of Array.from(y.get("zeros"))) expect(Number.isFinite(h)).toBe(true);
  },
);

test.each(RUNNERS)("balance() gives the entropies of its targets, and 0 for padding, %s", async (runner) => {
  const y = await runObjective(
    ({ input }) => {
      const listed = { valid: input("valid", [ROWS]), count: input("count", []) };
      const { targets, entropies } = balance(input("x", [ROWS, K]), input("temp", []), listed);
      return { targets, h: entropies() };
    },
    { values: { x: LOGITS, temp: [0.05], valid: VALID, count: [3] }, runner },
  );
  const wanted = naive(y.get("targets"));
  expect(wanted.filter((h) => h > 0.01)).toHaveLength(3);
  expectClose(y.get("h"), wanted, { atol: 1e-5, rtol: 1e-4, what: "entropies" });
});
