import { expect, test } from "vitest";
import { effectsTable } from "./family-effects.ts";
import { type FamilyScore, familyTable } from "./family.ts";

const score = (name: FamilyScore["name"], seed: number, knn: number, patch: number): FamilyScore => {
  return { name, seed, steps: 10, minutes: 1, knn, patch, miou: 0.2 };
};
const SCORES = [
  score("untrained", 0, 0.2, 0.5),
  score("untrained", 1, 0.25, 0.5),
  score("dino", 0, 0.3, 0.55),
  score("dino", 1, 0.35, 0.5),
  score("ibot", 0, 0.3, 0.6),
  score("ibot", 1, 0.3, 0.44),
  score("dinov2", 0, 0.2, 0.4),
];

test("effectsTable() pairs seeds, and says of each effect whether all, some or none of them have it", () => {
  const row = (claim: string): string => effectsTable(SCORES).find((line) => line.includes(claim)) ?? "";
  expect(row("DINO learns")).toContain("| dino − untrained, pictures | 10.0 (10.0 to 10.0) | shows |");
  expect(row("iBOT's masked")).toContain("| ibot − dino, patches | -0.5 (-6.0 to 5.0) | does not show |");
  expect(row("DINOv2 betters")).toContain("| dinov2 − untrained, patches | -10.0 | **the contrary shows** |"); // seed 0 alone
  expect(row("Gram anchoring")).toContain("|  | not run |");
});

test("familyTable() has a row a member with its seeds, and the effects", () => {
  const table = familyTable(SCORES, { command: "node recipes/family.ts", minutes: 1, pixels: 0.4 });
  expect(table).toContain("| DINO | 2 | 10, 10 | 32.5 (30.0 to 35.0) | 52.5 (50.0 to 55.0) | 20.0 (20.0 to 20.0) |");
  expect(table).toContain("| + Gram anchoring | 0 |  |  |  |  |");
  for (const line of effectsTable(SCORES)) expect(table).toContain(line);
});
