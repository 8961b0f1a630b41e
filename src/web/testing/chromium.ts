/** @file A headless Chromium for tests. */
import type { Browser } from "playwright-core";
import { chromiumPath } from "./bundle.ts";

/** Starts Chromium; WebGPU and WebGL on SwiftShader, as there is no GPU. */
export async function openChromium(): Promise<Browser> {
  const { chromium } = await import("playwright-core");
  return chromium.launch({
    executablePath: chromiumPath(),
    headless: true,
    args: [
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      "--enable-unsafe-swiftshader",
      "--use-gl=angle",
      "--use-angle=swiftshader",
    ],
  });
}
