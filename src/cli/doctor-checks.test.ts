import { expect, test } from "vitest";
import { PlatformError } from "../core/index.ts";
import {
  checkComputing,
  checkKoffi,
  checkMachine,
  checkMemory,
  checkNode,
  checkOnnxRuntime,
  checkPlatform,
  checkSharp,
  cpuFeatures,
  formatChecks,
} from "./doctor-checks.ts";

test("checkMachine() finds here what training needs", async () => {
  const checks = await checkMachine();
  expect(checks.map(({ name }) => name)).toEqual([
    "Node",
    "Platform",
    "CPU",
    "Memory",
    "Images",
    "Native calls",
    "ONNX Runtime",
    "Computing",
  ]);
  expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
  expect(formatChecks(checks)).toMatch(/JPEG, PNG, WebP, GIF, AVIF, TIFF, SVG/);
});

test("doctor's checks say what to install where something is missing", async () => {
  expect(checkNode("20.1.0")).toMatchObject({
    status: "failed",
    todo: expect.stringContaining("npm i node@24"),
  });
  expect(await checkSharp("sharp-that-is-not-there")).toMatchObject({
    status: "failed",
    todo: expect.stringContaining("--include=optional"),
  });
  expect(await checkKoffi("koffi-that-is-not-there")).toMatchObject({
    status: "failed",
    todo: expect.stringContaining("npm install --include=optional koffi"),
  });
  const missing = (): Promise<never> =>
    Promise.reject(new PlatformError("Cannot find ONNX Runtime: the npm package onnxruntime-node is not installed; install it"));
  expect(await checkOnnxRuntime(missing, "linux-x64")).toMatchObject({
    status: "failed",
    todo: expect.stringContaining("ONNXRUNTIME_NODE_INSTALL=skip"),
  });
  const foreign = (): Promise<never> =>
    Promise.reject(new PlatformError("Cannot find ONNX Runtime: onnxruntime-node has no library for linux-riscv64; build it"));
  expect(await checkOnnxRuntime(foreign, "linux-riscv64")).toMatchObject({
    status: "failed",
    todo: expect.stringContaining("TRICERA_ORT_LIBRARY"),
  });
});

test("checkComputing() tells a wrong product and a library that does not load", async () => {
  expect(await checkComputing(() => Promise.resolve(0.5))).toMatchObject({
    status: "failed",
    found: expect.stringContaining("off by 0.5"),
  });
  const foreign = (): Promise<never> => Promise.reject(new Error("cannot open shared object file"));
  expect(await checkComputing(foreign)).toMatchObject({ status: "failed", todo: expect.stringContaining("glibc") });
});

test("checkPlatform() and checkMemory() warn of what is untested or small", () => {
  expect(checkPlatform("linux", "x64").status).toBe("ok");
  for (const [platform, arch] of [
    ["darwin", "arm64"],
    ["win32", "x64"],
    ["linux", "arm64"],
  ] as const)
    expect(checkPlatform(platform, arch)).toMatchObject({
      status: "warning",
      found: expect.stringContaining("untested"),
    });
  expect(checkMemory(2 ** 30, 2 ** 29, 0).status).toBe("warning");
  expect(checkMemory(2 ** 36, 2 ** 35, 2 ** 31)).toMatchObject({
    status: "warning",
    found: expect.stringMatching(/2\.\d GB of this container, the machine has \d\d\.\d GB/),
  });
});

test("cpuFeatures() reads the flags of Intel and ARM", () => {
  expect(cpuFeatures("processor: 0\nflags\t\t: fpu sse4_2 avx2 fma avx512f amx_bf16\n")).toEqual([
    "sse4_2",
    "avx2",
    "fma",
    "avx512f",
    "amx_bf16",
  ]);
  expect(cpuFeatures("Features\t: fp asimd sve\n")).toEqual(["asimd", "sve"]);
  expect(cpuFeatures("")).toEqual([]);
});
