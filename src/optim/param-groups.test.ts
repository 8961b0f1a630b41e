import { expect, test } from "vitest";
import { isDecayed, lrScaleOf, makeParamGroups, namesContaining } from "./param-groups.ts";
import { goldenJson, hasGolden } from "./testing/golden.ts";

interface GroupsGolden {
  readonly models: readonly {
    readonly depth: number;
    readonly decay: number;
    readonly patch_embed_mult: number;
    readonly params: Readonly<Record<string, readonly [lr: number, v2: number, v1: number]>>;
  }[];
}

test.skipIf(!hasGolden("param_groups"))("lrScaleOf() and isDecayed() meet lightly_train's multipliers for every parameter", () => {
  for (const { depth, decay, patch_embed_mult, params } of goldenJson<GroupsGolden>("param_groups").models)
    for (const [name, [lr, v2, v1]] of Object.entries(params)) {
      for (const prefix of ["", "backbone."])
        expect(lrScaleOf(prefix + name, { depth, layerDecay: decay, patchEmbedLrScale: patch_embed_mult })).toBeCloseTo(lr, 10);
      const shape = name.endsWith(".bias") || name.includes("norm") || name.includes("gamma") ? [24] : [2, 24];
      expect(isDecayed({ name, shape }, "dinov2"), name).toBe(v2 === 1);
      expect(isDecayed({ name, shape }, "dino"), name).toBe(v1 === 1);
    }
});

test("makeParamGroups() freezes by name, decays heads and gives them the full learning rate", () => {
  const params = [
    { name: "backbone.pos_embed", shape: [1, 5, 8] },
    { name: "dino_head.last_layer.weight_g", shape: [16, 1] },
    { name: "dino_head.mlp.0.bias", shape: [8] },
  ];
  const groups = makeParamGroups(params, { depth: 2, layerDecay: 0.5, isFrozen: (name) => name.endsWith("weight_g") });
  expect(groups).toEqual([
    { weightDecay: true, lrScale: 0.125, frozen: false, module: "backbone" },
    { weightDecay: true, lrScale: 1, frozen: true, module: "dino_head" },
    { weightDecay: false, lrScale: 1, frozen: false, module: "dino_head" },
  ]);
  expect([...namesContaining(params, "last_layer")]).toEqual(["dino_head.last_layer.weight_g"]);
});
