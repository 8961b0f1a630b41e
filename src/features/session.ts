/** @file A model open for lists of images: device, network, and pictures as the network wants them. */
import { availableParallelism } from "node:os";
import { ConfigError, Owned } from "../core/index.ts";
import { openCpu } from "../engine/runtime/index.ts";
import { openEvalPool } from "../images/node/index.ts";
import { defaultBatchSize } from "./batch-size.ts";
import type { ExtractRequest } from "./embed.ts";
import type { PictureSource } from "./extract.ts";
import { openFitSource } from "./fit-source.ts";
import { checkResizePolicy, type ResizePolicy, withPolicy } from "./fit.ts";
import { openEncoder } from "./model.ts";
import type { PictureEncoder } from "./picture-encoder.ts";
import type { DecodeRules, Preprocessing } from "./processor.ts";

/** Owns device, network and workers: use with `await using`. */
export interface EmbedSession extends AsyncDisposable {
  readonly encoder: PictureEncoder;
  readonly pictures: PictureSource;
  readonly imageSizePx: number;
  /** Pictures at once. */
  readonly batchSize: number;
  /** What the pixels went through: written beside features. */
  readonly preprocessing: Preprocessing & DecodeRules & { readonly policy?: ResizePolicy };
}

/** Opens a model as asked for. Throws ConfigError for a size that is no whole number of patches, and what `openEncoder` throws. */
export async function openSession(request: ExtractRequest): Promise<EmbedSession> {
  const { model, arch, resize, threads = availableParallelism() } = request;
  checkResizePolicy(resize);
  using owned = new Owned();
  const device = owned.use(openCpu({ threads }));
  const { encoder, preprocessing: own, rules: trained } = await openEncoder(model, device, { arch, imageSizePx: request.imageSizePx });
  owned.use(encoder);
  const imageSizePx = request.imageSizePx ?? own.imageSizePx;
  const patchSizePx = encoder.patchSizePx;
  checkEdges(encoder, imageSizePx, request.onNotice);
  const rules = { decode: request.decode ?? trained.decode, alpha: request.alpha ?? trained.alpha };
  const fitted = withPolicy({ ...own, imageSizePx }, resize);
  const preprocessing = { ...fitted, ...rules };
  const isOurs = resize === "pad" || resize === "multiple";
  const workers = isOurs ? undefined : openEvalPool({ ...preprocessing, threads });
  const all = owned.move();
  return {
    encoder,
    pictures: workers ?? openFitSource({ preprocessing: fitted, patchSizePx, resize, rules }),
    imageSizePx,
    batchSize: request.batchSize ?? defaultBatchSize(imageSizePx),
    preprocessing: isOurs ? { ...preprocessing, policy: resize } : preprocessing,
    async [Symbol.asyncDispose]() {
      await workers?.[Symbol.asyncDispose]();
      all[Symbol.dispose]();
    },
  };
}

/** Says which pixels are not seen where a size leaves some over. Throws ConfigError for a size that is not taken. */
function checkEdges(encoder: PictureEncoder, sizePx: number, onNotice: ExtractRequest["onNotice"]): void {
  const { patchSizePx, takesPartialPatches } = encoder;
  const rest = sizePx % patchSizePx;
  if (!takesPartialPatches || !Number.isInteger(sizePx) || sizePx < patchSizePx || rest === 0) return encoder.checkSize(sizePx);
  const whole = sizePx - rest;
  onNotice?.(
    `${sizePx} px are no multiple of patches of ${patchSizePx} px: ${rest} px at the right and at the bottom are not seen, as in Python; ` +
      `--image-size ${whole} or ${whole + patchSizePx} shows everything`,
  );
}

/** Throws ConfigError for what needs pictures of one size. */
export function checkMixed({ resize, pool = "cls" }: ExtractRequest, attention: boolean): void {
  if (resize !== "multiple") return;
  const isTokens = pool === "patch" || pool === "all";
  if (isTokens || attention)
    throw new ConfigError(
      `Cannot write ${isTokens ? "tokens" : "attention"} of pictures of several sizes: their numbers differ; pool them, or use --resize pad`,
      { keyPath: "resize" },
    );
}
