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
import type { Asked, Opened } from "./backbone.ts";

/** A named architecture for the channels of these weights. */
function withChannels<C extends ConvNeXtConfig | ResNetConfig>(config: C, found: C): C {
  const { channels = 3 } = found;
  return channels === (config.channels ?? 3) ? config : { ...config, channels };
}

/** Opens a ConvNeXt, all keys checked before the first value is read. Throws FormatError for tensors that do not fit. */
export async function openConvNeXt(contents: Contents, naming: Naming, asked: Asked<ConvNeXtConfig>): Promise<Opened> {
  const { file, described, named, source = naming } = asked;
  const { shapes } = contents;
  const names = { naming, file };
  const inferred = described ?? inferConvNeXt(shapes, names);
  const config = described === undefined && named !== undefined ? withChannels(named, inferred) : inferred;
  checkConvNeXtKeys(shapes, config, names);
  const tensors = await contents.join(convnextLinks(config, naming));
  checkCopies(tensors, await contents.readAll(COPIES.map(([copy]) => copy)), names);
  return { config, source, tensors };
}

/**
 * Opens a ResNet with its running statistics, all keys checked before the first value is read. torchvision's names are DINO's and timm's:
 * they count as Meta's. Throws FormatError for tensors that do not fit.
 */
export async function openResNet(contents: Contents, asked: Asked<ResNetConfig>): Promise<Opened> {
  const { file, named, source = "meta" } = asked;
  const inferred = inferResNet(contents.shapes, { file });
  const config = named === undefined ? inferred : withChannels(named, inferred);
  checkResNetKeys(contents.shapes, config, { file });
  return { config, source, tensors: await contents.join(resnetLinks(config)) };
}
