/** @file Released models: what there is, what it costs, and the cache they are pulled into. */
export {
  cacheFolders,
  type CachedModel,
  type CacheOptions,
  listCache,
  notCachedError,
  removeCached,
  resolveCached,
  resolveModelPath,
} from "./cache.ts";
export { CATALOGUE, type CatalogueEntry, catalogueNames, findEntry, type Original } from "./catalogue.ts";
export { countForward, countParameters, type ForwardCost, weightBytes } from "./cost.ts";
export { DownloadError } from "./errors.ts";
export { type Licence, type LicenceId, licenceLine, LICENCES } from "./licences.ts";
export type { CheckedBy, ManifestFile } from "./manifest.ts";
export { cacheName, type FileRef, type HubRef, isHubId, type ModelRef, parseModelRef } from "./model-ref.ts";
export { pullModel, type PullOptions, type PullResult } from "./pull.ts";
export { cacheDirOf, endpointOf, type Environment, tokenOf } from "./settings.ts";
