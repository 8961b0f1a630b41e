/** @file Names of weights: Meta's (ours), Hugging Face's, timm's. */
export {
  checkConvNeXtKeys,
  checkCopies,
  convnextFrom,
  convnextLinks,
  type ConvNeXtNames,
  convnextTo,
  COPIES,
  detectConvNeXt,
  inferConvNeXt,
} from "./convnext.ts";
export {
  checkKeys,
  fromDialect,
  fromHuggingFace,
  fromMeta,
  fromTimm,
  likeliestArchitecture,
  maskBiases,
  toHuggingFace,
  toTimm,
} from "./convert.ts";
export { type Dialect, dialectOf, type Naming, published, TABLES, vitLinks } from "./dialects.ts";
export { adjustToShapes, checkPeriods, detectDialect, inferViT } from "./detect.ts";
export { joinTensor, type Link, type Part, type Shapes, storedShapes } from "./links.ts";
export { checkResNetKeys, detectResNet, inferResNet, resnetFrom, resnetLinks, type ResNetNames } from "./resnet.ts";
export { backboneRoot, detectNames, type NetworkNames, plainName } from "./root.ts";
