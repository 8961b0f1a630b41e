/** @file The browser's side of the runtime: no Node here, and no native library. */
export { type OrtWebOptions, type WebBackend } from "./ort-web.ts";
export { openWeb, type WebDevice } from "./web-device.ts";
