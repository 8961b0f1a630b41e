/** @file Where ONNX Runtime's native library lies on this machine. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { PlatformError } from "../../../core/index.ts";

export interface OnnxRuntimeLibrary {
  readonly path: string;
  /** Version of the npm package it came from, or "custom" when TRICERA_ORT_LIBRARY named it. */
  readonly packageVersion: string;
}

/** The library's file name as onnxruntime-node ships it for each platform. */
const FILE_NAMES: Readonly<Record<string, RegExp>> = {
  linux: /^libonnxruntime\.so(\.\d+)*$/,
  darwin: /^libonnxruntime(\.\d+)*\.dylib$/,
  win32: /^onnxruntime\.dll$/,
};

export interface FindOptions {
  readonly platform?: string;
  readonly arch?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The module from which the npm package is looked up, as an URL or path. */
  readonly from?: string;
}

/**
 * Finds ONNX Runtime: the file TRICERA_ORT_LIBRARY names, else the one inside the npm package `onnxruntime-node`
 * (linux, darwin, win32; x64 and arm64 as far as the package has them). Throws PlatformError when there is none.
 */
export function findOnnxRuntime({
  platform = process.platform,
  arch = process.arch,
  env = process.env,
  from = import.meta.url,
}: FindOptions = {}): OnnxRuntimeLibrary {
  const custom = env["TRICERA_ORT_LIBRARY"];
  if (custom !== undefined && custom !== "") {
    if (existsSync(custom)) return { path: custom, packageVersion: "custom" };
    throw new PlatformError(
      `Cannot find ONNX Runtime: TRICERA_ORT_LIBRARY names "${custom}", which does not exist; set it to the library file or unset it`,
    );
  }
  const manifest = packageManifest(from);
  const bin = join(dirname(manifest), "bin");
  const path = pickLibrary(existsSync(bin) ? readdirSync(bin, { recursive: true, encoding: "utf8" }) : [], platform, arch);
  if (path === undefined)
    throw new PlatformError(
      `Cannot find ONNX Runtime: onnxruntime-node has no library for ${platform}-${arch}; build ONNX Runtime and set TRICERA_ORT_LIBRARY to its shared library`,
    );
  return { path: join(bin, path), packageVersion: versionOf(manifest) };
}

function packageManifest(from: string): string {
  try {
    return createRequire(from).resolve("onnxruntime-node/package.json");
  } catch (cause) {
    throw new PlatformError(
      "Cannot find ONNX Runtime: the npm package onnxruntime-node is not installed; run `npm install onnxruntime-node`, or set TRICERA_ORT_LIBRARY to its shared library",
      { cause },
    );
  }
}

/** Of the files below the package's `bin`, that at `napi-v6/<platform>/<arch>/`; the napi folder changes its number between versions. */
export function pickLibrary(files: readonly string[], platform: string, arch: string): string | undefined {
  const pattern = FILE_NAMES[platform];
  return files.toSorted().find((file) => {
    const [, os, cpu, name = "", ...deeper] = file.split(/[\\/]/);
    return os === platform && cpu === arch && deeper.length === 0 && pattern?.test(name) === true;
  });
}

function versionOf(manifest: string): string {
  const parsed: unknown = JSON.parse(readFileSync(manifest, "utf8"));
  if (typeof parsed === "object" && parsed !== null && "version" in parsed && typeof parsed.version === "string") return parsed.version;
  return "unknown";
}
