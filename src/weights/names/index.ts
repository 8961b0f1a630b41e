/** @file Names of weights: Meta's (ours), Hugging Face's, timm's. */
export {
  checkConvNeXtKeys,
  convnextFrom,
  convnextLinks,
  type ConvNeXtNames,
  convnextTo,
  detectConvNeXt,
  inferConvNeXt,
} from "./convnext.ts";
export { fromDialect, fromHuggingFace, fromMeta, fromTimm, likeliestArchitecture, toHuggingFace, toTimm } from "./convert.ts";
export { type Dialect, dialectOf, type Naming, published, TABLES, vitLinks } from "./dialects.ts";
export { adjustToShapes, checkPeriods, detectDialect, inferViT } from "./detect.ts";
export { type Link, type Part, type Shapes, storedShapes } from "./links.ts";
export { checkResNetKeys, detectResNet, inferResNet, resnetFrom, resnetLinks, type ResNetNames } from "./resnet.ts";
export { backboneRoot, detectNames, type NetworkNames, plainName } from "./root.ts";
