/** @file A ConvNeXt's or ResNet's configuration and tensors, from the contents of its file and what is said of them. */
import type { ConvNeXtConfig, ResNetConfig } from "../../nn/index.ts";
import {
  checkConvNeXtKeys,
  checkCopies,
  checkResNetKeys,
  convnextLinks,
  COPIES,
  inferConvNeXt,
  inferResNet,
  type Naming,
  resnetLinks,
} from "../names/index.ts";
import type { Contents } from "./contents.ts";
import { type Asked, type Opened, type OpenNetwork, readParams } from "./backbone.ts";

/** A named architecture for the channels of these weights. */
function withChannels<C extends ConvNeXtConfig | ResNetConfig>(config: C, found: C): C {
  const { channels = 3 } = found;
  return channels === (config.channels ?? 3) ? config : { ...config, channels };
}

/** A ConvNeXt whose tensors are read when asked for, all keys checked before the first value is read. Throws FormatError for tensors that do not fit. */
export async function lazyConvNeXt(contents: Contents, naming: Naming, asked: Asked<ConvNeXtConfig>): Promise<OpenNetwork> {
  const { file, described, named, source = naming } = asked;
  const { shapes } = contents;
  const names = { naming, file };
  const inferred = described ?? inferConvNeXt(shapes, names);
  const config = described === undefined && named !== undefined ? withChannels(named, inferred) : inferred;
  checkConvNeXtKeys(shapes, config, names);
  const params = contents.params(convnextLinks(config, naming));
  const copied = COPIES.map(async ([, of]) => [of, await params.read(of)] as const);
  checkCopies(new Map(await Promise.all(copied)), await contents.readAll(COPIES.map(([copy]) => copy)), names);
  return { config, source, params };
}

/**
 * A ResNet with its running statistics, read when asked for; all keys checked before the first value is read. torchvision's names are DINO's and timm's:
 * they count as Meta's. Throws FormatError for tensors that do not fit.
 */
export function lazyResNet(contents: Contents, asked: Asked<ResNetConfig>): OpenNetwork {
  const { file, named, source = "meta" } = asked;
  const inferred = inferResNet(contents.shapes, { file });
  const config = named === undefined ? inferred : withChannels(named, inferred);
  checkResNetKeys(contents.shapes, config, { file });
  return { config, source, params: contents.params(resnetLinks(config)) };
}

/** `lazyConvNeXt` with its tensors in memory. */
export async function openConvNeXt(contents: Contents, naming: Naming, asked: Asked<ConvNeXtConfig>): Promise<Opened> {
  return await readParams(await lazyConvNeXt(contents, naming, asked));
}

/** `lazyResNet` with its tensors in memory. */
export async function openResNet(contents: Contents, asked: Asked<ResNetConfig>): Promise<Opened> {
  return await readParams(lazyResNet(contents, asked));
}
