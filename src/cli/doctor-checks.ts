/** @file What `tricera doctor` looks at: one check a function, each with what was found and what to do. */
import { readFile } from "node:fs/promises";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { PlatformError } from "../core/index.ts";

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

/** `container` is what a container allows, 0 where there is none; a run goes by the lower of both. */
export function checkMemory(
  machine: number = totalmem(),
  free: number = freemem(),
  container: number = process.constrainedMemory(),
): Check {
  const total = container > 0 ? Math.min(machine, container) : machine;
  const found = total < machine ? `${gb(total)} of this container, the machine has ${gb(machine)}` : `${gb(total)}, ${gb(free)} free`;
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
  const loaded: unknown = await import(specifier);
  return loaded as Readonly<Record<string, unknown>>; // as: a module is a table of its exports
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
      todo: `koffi has no build for ${process.platform}-${process.arch}, or its files are missing (they are optional packages of npm): npm install --include=optional koffi`,
    };
  }
}

/** Where onnxruntime-node 1.30 brings the library for. */
const SHIPPED = new Set(["linux-x64", "linux-arm64", "darwin-arm64", "win32-x64", "win32-arm64"]);
const INSTALL_AGAIN =
  "the package is missing or not whole: its post-install step downloads GPU libraries from outside the npm registry, and npm takes the package " +
  "back where that fails; nothing of it is needed on a CPU, so skip it: ONNXRUNTIME_NODE_INSTALL=skip npm install";
const NO_BUILD = "build ONNX Runtime, or get its shared library elsewhere, and set TRICERA_ORT_LIBRARY to the file";

/** What to do about an ONNX Runtime that is not found, by what is known of the platform. */
function runtimeTodo(error: unknown, platform: string): string {
  if (!(error instanceof PlatformError)) return "it is looked for through koffi: mend Native calls first";
  if (error.message.includes("TRICERA_ORT_LIBRARY names")) return "set TRICERA_ORT_LIBRARY to a file that exists, or unset it";
  return SHIPPED.has(platform) ? INSTALL_AGAIN : NO_BUILD;
}

export async function checkOnnxRuntime(
  find: () => Promise<{ readonly path: string; readonly packageVersion: string }> = findRuntime,
  platform = `${process.platform}-${process.arch}`,
): Promise<Check> {
  const name = "ONNX Runtime";
  try {
    const { path, packageVersion } = await find();
    return { name, status: "ok", found: `${packageVersion}, ${path} (its post-install step is not needed)` };
  } catch (error) {
    return { name, status: "failed", found: messageOf(error), todo: runtimeTodo(error, platform) };
  }
}

async function findRuntime(): Promise<{ readonly path: string; readonly packageVersion: string }> {
  const { findOnnxRuntime } = await import("../engine/runtime/index.ts");
  return findOnnxRuntime();
}

/** A matrix product on the CPU device: the library loads and computes. */
export async function checkComputing(multiply: () => Promise<number> = multiplyOnCpu): Promise<Check> {
  const name = "Computing";
  try {
    const error = await multiply();
    if (error < 1e-4) return { name, status: "ok", found: "a matrix product on the CPU is right" };
    return { name, status: "failed", found: `a matrix product on the CPU is off by ${error}`, todo: "report this machine's processor" };
  } catch (error) {
    const todo =
      "mend what failed above; where all else is fine, the library does not suit this system (ONNX Runtime needs glibc on Linux)";
    return { name, status: "failed", found: messageOf(error), todo };
  }
}

/** The largest error of x xᵀ against plain loops, x a 16 × 16 matrix. */
async function multiplyOnCpu(): Promise<number> {
  const { openCpu } = await import("../engine/runtime/index.ts");
  const { Builder, dot } = await import("../engine/trace/index.ts");
  const n = 16;
  const builder = new Builder();
  const x = builder.input("x", [n, n]);
  builder.output("y", dot(x, x, { transB: true }));
  using device = openCpu({ threads: 1 });
  using program = device.compile(builder.graph());
  const [a, y] = [program.inputs.get("x"), program.outputs.get("y")];
  if (!(a instanceof Float32Array) || !(y instanceof Float32Array)) return Infinity;
  for (let i = 0; i < n * n; i++) a[i] = Math.sin(i);
  await program.run();
  let most = 0;
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += (a[i * n + k] ?? NaN) * (a[j * n + k] ?? NaN);
      most = Math.max(most, Math.abs(sum - (y[i * n + j] ?? NaN)));
    }
  return most;
}

/** Every check of this machine. */
export async function checkMachine(): Promise<readonly Check[]> {
  const native = [await checkSharp(), await checkKoffi(), await checkOnnxRuntime(), await checkComputing()];
  return [checkNode(), checkPlatform(), await checkCpu(), checkMemory(), ...native];
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
