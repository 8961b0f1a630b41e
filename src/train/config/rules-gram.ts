/** @file Rules of Gram anchoring and of mixed high resolutions. DINOv3 spec §3.6, 3.8. */
import { because, type Because, type Chooser, published } from "./choose.ts";
import { n } from "./learning-facts.ts";
import { gridStep } from "./rules-crops.ts";
import { multiple } from "./rules-model.ts";
import type { CropsSectionConfig, CropSizes, GramSectionConfig, ModelConfig, ObjectiveConfig, RunFacts, StageName } from "./types.ts";

/** The Gram teacher's crops have twice the student's side: 512 for 256 px. */
const GRAM_SCALE = 2;
/** The Gram teacher is refreshed every twentieth of the refinement (10,000 of 200,000 steps), at most three times. */
const UPDATE_SHARE = 1 / 20;
const UPDATES = 3;

/** Where the Gram teacher comes from when none is named. */
const TEACHERS = {
  pretrain: "a copy of the moving teacher at the first update",
  gram: "an early teacher of the run it goes on from",
  highres: "the Gram teacher of the run it goes on from",
} as const;

type Crops = Omit<CropsSectionConfig, "sizes">;

export interface GramRuleOptions {
  readonly stage: StageName;
  readonly facts: RunFacts;
  readonly crops: Crops;
  readonly model: ModelConfig;
  readonly gramWeight: number;
}

/** Settles the side of the Gram teacher's crops, which says what the run takes of memory. */
export function settleGramSize(choose: Chooser<GramSectionConfig>, options: GramRuleOptions): number {
  const { stage, facts, crops, model, gramWeight } = options;
  const wanted = multiple(GRAM_SCALE * crops.globalSizePx, gridStep(model));
  return choose("sizePx", () => {
    if (gramWeight === 0) return because(0, "no Gram loss");
    if (stage === "highres") return because(0, "each of crops.sizes has its own");
    return facts.medianSidePx >= wanted
      ? because(
          wanted,
          `twice ${crops.globalSizePx} px, as DINOv3 has it: the teacher's patches are finer, its map is brought to the student's`,
        )
      : because(0, `the pictures' median side is ${n(facts.medianSidePx)} px: a crop of ${wanted} px would show no more`);
  });
}

/** Settles Gram anchoring. */
export function settleGram(
  choose: Chooser<GramSectionConfig>,
  {
    sizePx,
    totalSteps,
    stage,
    gramWeight,
  }: { readonly sizePx: number; readonly totalSteps: number; readonly stage: StageName; readonly gramWeight: number },
): GramSectionConfig {
  const useEma = choose("useEma", () => because(false, "the teacher of an earlier time holds what dense features were"));
  const updates = gramWeight > 0 && stage !== "highres" && !useEma;
  const never = gramWeight === 0 ? "no Gram loss" : useEma ? "the moving teacher itself is used" : "the teacher of the Gram stage stays";
  const every = Math.max(1, Math.round(UPDATE_SHARE * totalSteps));
  const updateEverySteps = choose("updateEverySteps", () =>
    updates ? because(every, `a twentieth of ${n(totalSteps)} steps, as in DINOv3's refinement`) : because(0, never),
  );
  const refreshed = updateEverySteps > 0;
  return {
    teacher: choose("teacher", () => because(null, gramWeight === 0 || useEma ? never : TEACHERS[stage])),
    sizePx,
    useEma,
    firstUpdateStep: choose("firstUpdateStep", () =>
      refreshed ? because(updateEverySteps, "after the first of these spans") : because(0, never),
    ),
    updateEverySteps,
    maxUpdates: choose("maxUpdates", () => (refreshed ? published(UPDATES, "dinov3") : because(0, never))),
    normalize: choose("normalize", () => published(true, "dinov3")),
    level: choose("level", () => published("image", "dinov3")),
    removeNegative: choose("removeNegative", () => published(false, "dinov3")),
    removeOnlyTeacherNegative: choose("removeOnlyTeacherNegative", () => published(false, "dinov3")),
    tokens: choose("tokens", () => published("all", "dinov3")),
  };
}

/** DINOv3's mixture in units of its 256 and 112 px: (512, 112, 768), (768, 112 to 336, 1152). */
const MIXTURE = [
  { global: 2, local: 1, ratio: 0.3 },
  { global: 3, local: 1, ratio: 0.3 },
  { global: 3, local: 1.5, ratio: 0.3 },
  { global: 3, local: 2, ratio: 0.05 },
  { global: 3, local: 3, ratio: 0.05 },
] as const;
const GRAM_OF_GLOBAL = 1.5;

export interface SizesRuleOptions {
  readonly stage: StageName;
  readonly crops: Crops;
  readonly model: ModelConfig;
  readonly objective: Pick<ObjectiveConfig, "gramWeight">;
  readonly medianSidePx: number;
  /** Whether a step with such crops fits the memory. */
  readonly fits: (sizes: readonly CropSizes[]) => boolean;
}

/** Settles the mixture of sizes: none but in the high-resolution stage, there DINOv3's as far as the pictures and the memory reach. */
export function settleSizes(choose: Chooser<CropsSectionConfig>, options: SizesRuleOptions): readonly CropSizes[] {
  return choose("sizes", () => (options.stage === "highres" ? mixtureRule(options) : because([], "one size for the whole run")));
}

function mixtureRule({ crops, model, objective, medianSidePx, fits }: SizesRuleOptions): Because<readonly CropSizes[]> {
  const step = gridStep(model);
  const all = MIXTURE.map(({ global, local, ratio }) => {
    const globalSizePx = multiple(global * crops.globalSizePx, step);
    const localSizePx = Math.min(globalSizePx, multiple(local * crops.localSizePx, step));
    const wanted = objective.gramWeight > 0 ? multiple(GRAM_OF_GLOBAL * globalSizePx, step) : 0;
    return { globalSizePx, localSizePx, gramSizePx: wanted <= medianSidePx ? wanted : 0, ratio };
  });
  const [first, ...larger] = all;
  if (first === undefined) return because([], "no sizes");
  const kept = [first, ...larger.filter((size) => size.globalSizePx <= medianSidePx && fits([size]))];
  const sizes = withWholeRatios(kept);
  const whole = kept.length === all.length;
  return because(
    sizes,
    `DINOv3's mixture of two and three times ${crops.globalSizePx} px${whole ? "" : `, as far as pictures of ${n(medianSidePx)} px and the memory reach`}`,
  );
}

/** Ratios that sum to 1, in thousandths; the first takes what rounding leaves. */
function withWholeRatios(sizes: readonly CropSizes[]): readonly CropSizes[] {
  const total = sizes.reduce((sum, { ratio }) => sum + ratio, 0);
  const rounded = sizes.map((size) => ({ ...size, ratio: Math.round((1000 * size.ratio) / total) }));
  const left = 1000 - rounded.reduce((sum, { ratio }) => sum + ratio, 0);
  return rounded.map((size, i) => ({ ...size, ratio: (i === 0 ? size.ratio + left : size.ratio) / 1000 }));
}
