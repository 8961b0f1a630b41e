/** @file Opens sharp, once; says what to install where its binary is missing. */
import type Sharp from "sharp";
import { PlatformError } from "../../core/index.ts";

export type SharpFactory = typeof Sharp;

let opened: Promise<SharpFactory> | undefined;

/** The sharp module, one thread a picture: the pool's workers are the parallelism. Throws PlatformError when its binary is missing. */
export function openSharp(): Promise<SharpFactory> {
  opened ??= import("sharp").then(
    ({ default: sharp }) => {
      sharp.concurrency(1);
      sharp.cache(false);
      return sharp;
    },
    (cause: unknown) => {
      const hint = `npm install --include=optional --os=${process.platform} --cpu=${process.arch} sharp`;
      throw new PlatformError(`Cannot read images: sharp has no binary for ${process.platform}-${process.arch}; run "${hint}"`, { cause });
    },
  );
  return opened;
}
