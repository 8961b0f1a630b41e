/** @file What `tricera doctor` looks at: one check a function, each with what was found and what to do. */
import { readFile } from "node:fs/promises";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";

export interface Check {
  readonly name: string;
  readonly status: "ok" | "warning" | "failed";
  readonly found: string;
  readonly todo?: string;
}

const LEAST_NODE = 22;
const TESTED_PLATFORMS = new Set(["linux-x64"]);
const WANTED_FEATURES = ["sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve"];
const IMAGE_FORMATS: Readonly<Record<string, readonly string[]>> = {
  JPEG: ["jpeg"],
  PNG: ["png"],
  WebP: ["webp"],
  GIF: ["gif"],
  AVIF: ["heif", "avif"],
  TIFF: ["tiff"],
  SVG: ["svg"],
};

const gb = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GB`;
const messageOf = (error: unknown): string => (error instanceof Error ? (error.message.split("\n", 1)[0] ?? "") : String(error));

export function checkNode(version: string = process.versions.node): Check {
  const ok = Number(version.split(".")[0]) >= LEAST_NODE;
  return ok
    ? { name: "Node", status: "ok", found: version }
    : {
        name: "Node",
        status: "failed",
        found: `${version} is too old`,
        todo: `install Node ${LEAST_NODE} or later, or put it beside tricera: npm i node@24`,
      };
}

export function checkPlatform(platform: string = process.platform, arch: string = process.arch): Check {
  const name = `${platform}-${arch}`;
  return TESTED_PLATFORMS.has(name)
    ? { name: "Platform", status: "ok", found: name }
    : {
        name: "Platform",
        status: "warning",
        found: `${name} is untested (tested: ${[...TESTED_PLATFORMS].join(", ")}; macOS, Windows and ARM are not yet)`,
        todo: "please report what works and what does not",
      };
}

/** The features of `/proc/cpuinfo` that matter to matrix products. */
export function cpuFeatures(cpuinfo: string): readonly string[] {
  const flags = new Set((/^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? "").split(/\s+/));
  return WANTED_FEATURES.filter((feature) => flags.has(feature));
}

async function checkCpu(): Promise<Check> {
  const features = cpuFeatures(await readFile("/proc/cpuinfo", "utf8").catch(() => ""));
  const model = cpus()[0]?.model.trim() ?? "unknown processor";
  const said = features.length > 0 ? features.join(" ") : "features not known on this platform";
  return {
    name: "CPU",
    status: "ok",
    found: `${availableParallelism()} threads, ${model} (${said})`,
  };
}

export function checkMemory(total: number = totalmem(), free: number = freemem()): Check {
  const found = `${gb(total)}, ${gb(free)} free`;
  return total >= 3 * 2 ** 30
    ? { name: "Memory", status: "ok", found }
    : {
        name: "Memory",
        status: "warning",
        found,
        todo: "train small networks, with a small train.batchSize and train.checkpointing=true",
      };
}

/** Loads a package by a name that is not known to the compiler, since it may be missing. */
async function load(specifier: string): Promise<Readonly<Record<string, unknown>>> {
  const loaded: Readonly<Record<string, unknown>> = await import(specifier);
  return loaded;
}

function inputOf(format: unknown): boolean {
  const input: unknown = typeof format === "object" && format !== null && "input" in format ? format.input : undefined;
  return typeof input === "object" && input !== null && "buffer" in input && input.buffer === true;
}

export async function checkSharp(specifier = "sharp"): Promise<Check> {
  try {
    const { default: sharp } = await load(specifier);
    const about: {
      readonly format?: Readonly<Record<string, unknown>>;
      readonly versions?: { readonly sharp?: string; readonly vips?: string };
    } = typeof sharp === "function" ? (sharp as object) : {}; // sharp's function carries these two tables
    const reads = Object.entries(IMAGE_FORMATS).filter(([, keys]) => keys.some((key) => inputOf(about.format?.[key])));
    const missing = Object.keys(IMAGE_FORMATS).filter((name) => !reads.some(([has]) => has === name));
    const found = `sharp ${about.versions?.sharp ?? "?"}, libvips ${about.versions?.vips ?? "?"}; reads ${reads.map(([name]) => name).join(", ")}`;
    return missing.length === 0
      ? { name: "Images", status: "ok", found }
      : { name: "Images", status: "warning", found: `${found}; not ${missing.join(", ")}` };
  } catch (error) {
    return {
      name: "Images",
      status: "failed",
      found: `sharp does not load (${messageOf(error)})`,
      todo: `install its binary: npm install --include=optional --os=${process.platform} --cpu=${process.arch} sharp`,
    };
  }
}

export async function checkKoffi(specifier = "koffi"): Promise<Check> {
  try {
    const loaded = await load(specifier);
    const koffi: unknown = loaded["default"] ?? loaded;
    const version = typeof koffi === "object" && koffi !== null && "version" in koffi ? koffi.version : undefined;
    return {
      name: "Native calls",
      status: "ok",
      found: `koffi ${typeof version === "string" ? version : "?"}`,
    };
  } catch (error) {
    return {
      name: "Native calls",
      status: "failed",
      found: `koffi does not load (${messageOf(error)})`,
      todo: `koffi has no build for ${process.platform}-${process.arch}, or its files are missing: npm install koffi`,
    };
  }
}

const SKIPPED_INSTALL =
  "its post-install step downloads from outside the npm registry and undoes the installation where it cannot; nothing of it is needed on a CPU: " +
  "ONNXRUNTIME_NODE_INSTALL=skip npm install, then run doctor again";

export async function checkOnnxRuntime(
  find: () => Promise<{ readonly path: string; readonly packageVersion: string }> = findRuntime,
): Promise<Check> {
  try {
    const { path, packageVersion } = await find();
    return {
      name: "ONNX Runtime",
      status: "ok",
      found: `${packageVersion}, ${path} (its post-install step is not needed)`,
    };
  } catch (error) {
    const text = messageOf(error);
    return {
      name: "ONNX Runtime",
      status: "failed",
      found: text,
      todo: text.includes("not installed") ? SKIPPED_INSTALL : "set TRICERA_ORT_LIBRARY to the library file",
    };
  }
}

async function findRuntime(): Promise<{ readonly path: string; readonly packageVersion: string }> {
  const { findOnnxRuntime } = await import("../engine/runtime/index.ts");
  return findOnnxRuntime();
}

/** Every check of this machine. */
export async function checkMachine(): Promise<readonly Check[]> {
  return [checkNode(), checkPlatform(), await checkCpu(), checkMemory(), await checkSharp(), await checkKoffi(), await checkOnnxRuntime()];
}

const SIGNS = { ok: "ok     ", warning: "warning", failed: "FAILED " } as const;

/** The checks for people: one line each, and what to do below those that need it. */
export function formatChecks(checks: readonly Check[]): string {
  const wide = Math.max(...checks.map(({ name }) => name.length));
  return checks
    .flatMap(({ name, status, found, todo }) => [
      `${SIGNS[status]}  ${name.padEnd(wide)}  ${found}`,
      ...(todo === undefined ? [] : [`         ${" ".repeat(wide)}  -> ${todo}`]),
    ])
    .map((line) => `${line}\n`)
    .join("");
}
