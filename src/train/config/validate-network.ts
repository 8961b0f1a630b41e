/** @file Networks and crops that cannot be: sizes off the grid, heads that do not divide, families without free sizes. */
import { ConfigError } from "../../core/index.ts";
import { parseArch } from "./arch.ts";
import { COLOURS, INGREDIENTS } from "./ingredients.ts";
import { gridStep } from "./rules-crops.ts";
import type { ModelConfig, TrainConfig } from "./types.ts";

function sizesAround(value: number, step: number): string {
  const below = Math.floor(value / step) * step;
  const near = below >= step ? [below, below + step] : [step, 2 * step];
  return `${near.join(" or ")} (any multiple of ${step})`;
}

/** Pictures are whole patches: of the network, or of a frozen teacher and every student; local crops are for the students. */
function checkPatches({ model, crops, distill: { students } }: TrainConfig): void {
  const seen = { key: "model.imageSizePx", sizePx: model.imageSizePx };
  checkWhole({ model }, { crops, locals: students.length === 0, others: [seen] });
  for (const student of students) checkWhole(student, { crops, locals: true, others: [] });
}

function checkWhole(
  { name, model }: { readonly name?: string; readonly model: ModelConfig },
  { crops, locals, others }: { readonly crops: TrainConfig["crops"]; readonly locals: boolean; readonly others: readonly Size[] },
): void {
  const p = gridStep(model);
  const sizes: readonly Size[] = [
    ...others,
    { key: "crops.globalSizePx", sizePx: crops.globalSizePx },
    ...(locals && crops.localCount > 0 ? [{ key: "crops.localSizePx", sizePx: crops.localSizePx }] : []),
    ...crops.sizes.flatMap(({ globalSizePx, localSizePx, gramSizePx }) =>
      [globalSizePx, ...(locals ? [localSizePx] : []), gramSizePx].map((sizePx) => ({ key: "crops.sizes", sizePx })),
    ),
  ];
  for (const { key: keyPath, sizePx } of sizes)
    if (sizePx % p !== 0)
      throw new ConfigError(
        `Cannot use ${keyPath} ${sizePx}: it is not a multiple of the patch size ${p}${name === undefined ? "" : ` of "${name}"`}; use ${sizesAround(sizePx, p)}`,
        { keyPath },
      );
}

/** A side in pixels and the key that it stands under. */
interface Size {
  readonly key: string;
  readonly sizePx: number;
}

function checkLocals({ crops }: TrainConfig): void {
  if (crops.localCount === 0) return;
  for (const [keyPath, { globalSizePx, localSizePx }] of [
    ["crops.localSizePx", crops] as const,
    ...crops.sizes.map((size) => ["crops.sizes", size] as const),
  ])
    if (localSizePx > globalSizePx)
      throw new ConfigError(
        `Cannot use ${keyPath} with local crops of ${localSizePx} px: they are larger than the global crops of ${globalSizePx} px; use ${globalSizePx} or less`,
        { keyPath },
      );
}

function checkMixture({ crops }: TrainConfig): void {
  const { sizes } = crops;
  const total = sizes.reduce((sum, { ratio }) => sum + ratio, 0);
  if (sizes.length > 0 && Math.abs(total - 1) > 1e-6)
    throw new ConfigError(
      `Cannot use crops.sizes: the ratios sum to ${Number(total.toPrecision(6))}; make them shares of the steps that sum to 1`,
      { keyPath: "crops.sizes" },
    );
  const below = sizes.find(({ globalSizePx, gramSizePx }) => gramSizePx > 0 && gramSizePx < globalSizePx);
  if (below !== undefined)
    throw new ConfigError(
      `Cannot use crops.sizes with gramSizePx ${below.gramSizePx}: the Gram teacher would see less than the global crops of ${below.globalSizePx} px; use ${below.globalSizePx} or more, or 0`,
      { keyPath: "crops.sizes" },
    );
}

/** A ConvNeXt or ResNet has the sizes of its name alone; a ViT's name says no other family. */
function checkFamily({ model }: TrainConfig): void {
  const named = parseArch(model.arch);
  const { family } = INGREDIENTS[named?.line ?? "dino"];
  if (model.family !== family)
    throw new ConfigError(
      `Cannot use model.family "${model.family}": model.arch "${model.arch}" is a ${family}; leave model.family out, or name another model.arch`,
      { keyPath: "model.family" },
    );
  if (family === "vit" || named === undefined) return;
  const fixed = { ...named.size, patchSizePx: named.patchSizePx };
  for (const key of ["width", "depth", "heads", "patchSizePx"] as const)
    if (model[key] !== fixed[key])
      throw new ConfigError(
        `Cannot use model.${key} ${model[key]}: ${model.arch} has ${fixed[key]} and no free sizes; leave model.${key} out, or name another model.arch`,
        { keyPath: `model.${key}` },
      );
  if (model.dropPath > 0 && family === "resnet")
    throw new ConfigError(`Cannot use model.dropPath ${model.dropPath}: a ResNet drops no blocks; set model.dropPath=0`, {
      keyPath: "model.dropPath",
    });
}

function checkRope({ model }: TrainConfig): void {
  const perHead = model.width / model.heads;
  if (model.positions === "rope" && perHead % 4 !== 0)
    throw new ConfigError(
      `Cannot use model.positions "rope": heads have ${perHead} channels, and two axes of sines and cosines need a multiple of 4; change model.heads ${model.heads} or model.width ${model.width}`,
      { keyPath: "model.heads" },
    );
}

/** One mean and deviation a channel, students of the same pictures, and changes of colour for colours alone. */
function checkChannels({ model, augment, distill }: TrainConfig): void {
  const { channels } = model;
  for (const key of ["mean", "std"] as const)
    if (augment[key].length !== channels)
      throw new ConfigError(
        `Cannot use augment.${key} of ${augment[key].length} numbers: model.channels is ${channels}; give ${channels}, one a channel`,
        { keyPath: `augment.${key}` },
      );
  const other = distill.students.find(({ model }) => model.channels !== channels);
  if (other !== undefined)
    throw new ConfigError(
      `Cannot distill to "${other.name}": it takes ${other.model.channels} channels, its teacher ${channels}; give students of the teacher's pictures`,
      { keyPath: "distill.students" },
    );
  if (channels === COLOURS) return;
  const key = (["saturation", "hue", "grayscale"] as const).find((of) => augment[of] > 0);
  if (key !== undefined)
    throw new ConfigError(
      `Cannot use augment.${key} ${augment[key]}: it is of red, green and blue, and model.channels is ${channels}; set augment.${key}=0`,
      { keyPath: `augment.${key}` },
    );
}

function checkModel({ model }: TrainConfig): void {
  if (model.posEmbedInit === "sincos" && model.width % 4 !== 0)
    throw new ConfigError(
      `Cannot use model.posEmbedInit "sincos": width ${model.width} is not a multiple of 4; use ${Math.ceil(model.width / 4) * 4} or "normal"`,
      { keyPath: "model.posEmbedInit" },
    );
  if (model.width % model.heads === 0) return;
  const good = Array.from({ length: model.width }, (_, i) => i + 1).filter((h) => model.width % h === 0 && model.width / h >= 16);
  throw new ConfigError(
    `Cannot use model.heads ${model.heads}: width ${model.width} does not divide into ${model.heads} heads; use ${good.length > 0 ? good.join(", ") : "1"}`,
    { keyPath: "model.heads" },
  );
}

/** Throws ConfigError for a network or crops that cannot be. */
export function checkNetwork(config: TrainConfig): void {
  checkFamily(config);
  checkPatches(config);
  checkLocals(config);
  checkMixture(config);
  checkModel(config);
  checkRope(config);
  checkChannels(config);
}
