/** @file Names of a ResNet: torchvision's, which are timm's, DINO's and ours. DINO spec §1.7. */
import { FormatError, type HostTensor } from "../../core/index.ts";
import { RESNET_PRESETS, type ResNetConfig, resnetSpecs, resnetState } from "../../nn/index.ts";
import type { NamedTensors } from "../tensor-bytes.ts";
import { compareKeys, describeReport, isClean, joinTensors, type Link, type Shapes, shapesOf, storedShapes } from "./links.ts";

/** The classifier is not the backbone's; the count of batches is of no use, since the momentum does not depend on it. */
const IGNORED = /^fc\.|\.num_batches_tracked$/;

export interface ResNetNames {
  /** What errors call the tensors. */
  readonly file?: string;
}

/** Parameters and running statistics of a ResNet, each stored by its own name. */
export function resnetLinks(config: ResNetConfig): Link[] {
  return [...resnetSpecs(config), ...resnetState(config)].map(({ name, shape }) => ({ name, shape, parts: [{ name, shape }] }));
}

/** Whether these are names of a ResNet. */
export function detectResNet(names: ReadonlySet<string> | Shapes): boolean {
  return names.has("conv1.weight") && names.has("layer1.0.conv1.weight");
}

function fail(state: string, { file = "" }: ResNetNames): never {
  throw new FormatError(`Cannot read weights${file === "" ? "" : ` of "${file}"`}: ${state}`, { file });
}

function likeliest(found: Shapes): string {
  for (const [name, config] of RESNET_PRESETS) {
    const { fits, missing, extra, wrong } = compareKeys(found, storedShapes(resnetLinks(config)), IGNORED);
    if (fits > missing.length + extra.length + wrong.length) return `they look like "${name}": choose that architecture`;
  }
  return "choose the architecture of these weights";
}

/** Throws one FormatError that lists every missing, extra and wrongly shaped tensor. */
export function checkResNetKeys(found: Shapes, config: ResNetConfig, names: ResNetNames = {}): void {
  const report = compareKeys(found, storedShapes(resnetLinks(config)), IGNORED);
  if (isClean(report)) return;
  const onlyStatistics = report.extra.length + report.wrong.length === 0 && report.missing.every(([name]) => name.includes(".running_"));
  if (onlyStatistics)
    fail(
      `they lack the running statistics of batch norm (${report.missing.length} tensors), which a checkpoint of a run keeps in method.safetensors; give the run's folder or its exported/last`,
      names,
    );
  fail(`they do not fit the network, ${describeReport(report)}; ${likeliest(found)}`, names);
}

/** Tensors of a ResNet, running statistics among them, as float32; no others. Throws FormatError that lists all that does not fit. */
export function resnetFrom(tensors: NamedTensors, config: ResNetConfig, names: ResNetNames = {}): Map<string, HostTensor> {
  checkResNetKeys(shapesOf(tensors), config, names);
  return joinTensors(tensors, resnetLinks(config));
}

/** The architecture that shapes are of: kind and number of blocks, channels of the stem. Throws FormatError where a layer has none. */
export function inferResNet(shapes: Shapes, names: ResNetNames = {}): ResNetConfig {
  const depth = (layer: number): number => {
    const start = `layer${layer}.`;
    const blocks = [...shapes.keys()].flatMap((name) =>
      name.startsWith(start) ? (/^\d+(?=\.)/.exec(name.slice(start.length))?.[0] ?? []) : [],
    );
    return new Set(blocks).size || fail(`layer ${layer} has no blocks; choose another file`, names);
  };
  const [width = 1, channels = 3] = shapes.get("conv1.weight") ?? [];
  const block = shapes.has("layer1.0.conv3.weight") ? "bottleneck" : "basic";
  const config: ResNetConfig = { family: "resnet", block, depths: [depth(1), depth(2), depth(3), depth(4)], width };
  return channels === 3 ? config : { ...config, channels };
}
