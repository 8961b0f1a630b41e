import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PlatformError } from "../../../core/index.ts";
import { findOnnxRuntime, pickLibrary } from "./library.ts";

/** What onnxruntime-node 1.30 ships below `bin`, with what stands beside the library. */
const SHIPPED = [
  "napi-v6",
  "napi-v6/darwin/arm64/libonnxruntime.1.30.0.dylib",
  "napi-v6/darwin/arm64/onnxruntime_binding.node",
  "napi-v6/linux/arm64/libonnxruntime.so.1",
  "napi-v6/linux/arm64/onnxruntime_binding.node",
  "napi-v6/linux/x64/libonnxruntime.so.1",
  "napi-v6/linux/x64/libonnxruntime_providers_cuda.so",
  "napi-v6/linux/x64/onnxruntime_binding.node",
  "napi-v6/win32/arm64/DirectML.dll",
  "napi-v6/win32/arm64/onnxruntime.dll",
  "napi-v6/win32/x64/onnxruntime.dll",
  "napi-v6/win32/x64/onnxruntime_binding.node",
];

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "tricera-library-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe("pickLibrary()", () => {
  test.each([
    ["linux", "x64", "napi-v6/linux/x64/libonnxruntime.so.1"],
    ["linux", "arm64", "napi-v6/linux/arm64/libonnxruntime.so.1"],
    ["darwin", "arm64", "napi-v6/darwin/arm64/libonnxruntime.1.30.0.dylib"],
    ["win32", "x64", "napi-v6/win32/x64/onnxruntime.dll"],
    ["win32", "arm64", "napi-v6/win32/arm64/onnxruntime.dll"],
  ])("finds that of %s-%s", (platform, arch, path) => {
    expect(pickLibrary(SHIPPED, platform, arch)).toBe(path);
  });

  test.each([
    ["darwin", "x64"],
    ["linux", "ia32"],
    ["freebsd", "x64"],
  ])("finds none for %s-%s", (platform, arch) => {
    expect(pickLibrary(SHIPPED, platform, arch)).toBeUndefined();
  });

  test("takes older folders, longer versions and Windows separators", () => {
    expect(pickLibrary(["napi-v3\\win32\\x64\\onnxruntime.dll"], "win32", "x64")).toBe("napi-v3\\win32\\x64\\onnxruntime.dll");
    expect(pickLibrary(["napi-v3/linux/x64/libonnxruntime.so.1.14.0"], "linux", "x64")).toBe("napi-v3/linux/x64/libonnxruntime.so.1.14.0");
    expect(pickLibrary(["napi-v3/darwin/x64/libonnxruntime.dylib"], "darwin", "x64")).toBe("napi-v3/darwin/x64/libonnxruntime.dylib");
  });

  test("takes no library of another folder or name", () => {
    expect(pickLibrary(["napi-v6/linux/x64/libonnxruntime.so.1/notes.txt"], "linux", "x64")).toBeUndefined();
    expect(pickLibrary(["napi-v6/linux/x64/old/libonnxruntime.so.1"], "linux", "x64")).toBeUndefined();
    expect(pickLibrary(["napi-v6/linux/x64/libonnxruntime_providers_shared.so"], "linux", "x64")).toBeUndefined();
    expect(pickLibrary([], "linux", "x64")).toBeUndefined();
  });
});

describe("findOnnxRuntime()", () => {
  test("finds the installed package's library and its version", () => {
    const { path, packageVersion } = findOnnxRuntime({ platform: "linux", arch: "x64", env: {} });
    expect(path.split(/[\\/]/).slice(-3)).toEqual(["linux", "x64", "libonnxruntime.so.1"]);
    expect(packageVersion).toMatch(/^1\.\d+\.\d+$/);
  });

  test("takes the file that TRICERA_ORT_LIBRARY names", () => {
    const file = join(folder, "custom.so");
    writeFileSync(file, "");
    expect(findOnnxRuntime({ env: { TRICERA_ORT_LIBRARY: file } })).toEqual({ path: file, packageVersion: "custom" });
  });

  test("says what to do where TRICERA_ORT_LIBRARY names nothing", () => {
    const find = (): unknown => findOnnxRuntime({ env: { TRICERA_ORT_LIBRARY: join(folder, "absent.so") } });
    expect(find).toThrow(PlatformError);
    expect(find).toThrow(
      /^Cannot find ONNX Runtime: TRICERA_ORT_LIBRARY names ".*absent\.so", which does not exist; set it to the library/,
    );
  });

  test("says what to install where the package is missing", () => {
    const find = (): unknown => findOnnxRuntime({ env: {}, from: join(folder, "main.js") });
    expect(find).toThrow(PlatformError);
    expect(find).toThrow(
      "Cannot find ONNX Runtime: the npm package onnxruntime-node is not installed; run `npm install onnxruntime-node`, or set TRICERA_ORT_LIBRARY to its shared library",
    );
  });

  test("says what to do where the package has no library for the platform", () => {
    expect(() => findOnnxRuntime({ platform: "freebsd", arch: "x64", env: {} })).toThrow(
      "Cannot find ONNX Runtime: onnxruntime-node has no library for freebsd-x64; build ONNX Runtime and set TRICERA_ORT_LIBRARY to its shared library",
    );
  });
});

test("openCpu() says what to do where the file is no library", () => {
  const file = join(folder, "text.so");
  writeFileSync(file, "not a library");
  const cpu = new URL("../cpu.ts", import.meta.url).href;
  const script = `import { openCpu } from ${JSON.stringify(cpu)}; try { openCpu(); } catch (e) { console.log(e.name + "|" + e.message); }`;
  const said = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
    env: { ...process.env, TRICERA_ORT_LIBRARY: file },
    encoding: "utf8",
  });
  expect(said).toMatch(
    /^PlatformError\|Cannot load ONNX Runtime from ".*text\.so": .*; reinstall onnxruntime-node .*or set TRICERA_ORT_LIBRARY/s,
  );
});
