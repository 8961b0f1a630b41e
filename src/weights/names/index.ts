/** @file Names of weights: Meta's (ours), Hugging Face's, timm's. */
export { convnextFrom, convnextLinks, type ConvNeXtNames, convnextTo, detectConvNeXt, inferConvNeXt } from "./convnext.ts";
export { fromDialect, fromHuggingFace, fromMeta, fromTimm, likeliestArchitecture, toHuggingFace, toTimm } from "./convert.ts";
export { type Dialect, dialectOf, type Naming, published, TABLES, vitLinks } from "./dialects.ts";
export { adjustToShapes, backboneRoot, checkPeriods, detectDialect, inferViT, plainName } from "./detect.ts";
export { type Link, type Part, type Shapes, storedShapes } from "./links.ts";
