/** @file The few parts of the browser's interface that are used; we compile without lib "dom", so that the other rooms cannot lean on it. */

/** A decoded picture on its way to pixels. */
export interface Bitmap {
  readonly width: number;
  readonly height: number;
  close(): void;
}

export interface BitmapOptions {
  readonly colorSpaceConversion: "none" | "default";
  readonly premultiplyAlpha: "none";
  readonly imageOrientation: "none" | "from-image";
}

/** The 2-D drawing context. */
export interface Context2d {
  fillStyle: string;
  fillRect(x: number, y: number, width: number, height: number): void;
  drawImage(image: object, x: number, y: number): void;
  getImageData(x: number, y: number, width: number, height: number): { readonly data: Uint8ClampedArray };
}

/** What of WebGL reads pixels back without touching them. */
export interface ContextGl {
  readonly TEXTURE_2D: number;
  readonly RGBA: number;
  readonly UNSIGNED_BYTE: number;
  readonly FRAMEBUFFER: number;
  readonly COLOR_ATTACHMENT0: number;
  readonly FRAMEBUFFER_COMPLETE: number;
  readonly UNPACK_PREMULTIPLY_ALPHA_WEBGL: number;
  readonly UNPACK_COLORSPACE_CONVERSION_WEBGL: number;
  readonly NONE: number;
  readonly MAX_TEXTURE_SIZE: number;
  getParameter(name: number): unknown;
  createTexture(): object | null;
  bindTexture(target: number, texture: object | null): void;
  pixelStorei(name: number, value: number): void;
  texImage2D(target: number, level: number, internal: number, format: number, type: number, image: object): void;
  createFramebuffer(): object | null;
  bindFramebuffer(target: number, buffer: object | null): void;
  framebufferTexture2D(target: number, attachment: number, textureTarget: number, texture: object | null, level: number): void;
  checkFramebufferStatus(target: number): number;
  readPixels(x: number, y: number, width: number, height: number, format: number, type: number, target: Uint8Array): void;
  getExtension(name: string): { loseContext?(): void } | null;
}

interface Canvas {
  getContext(kind: "2d", options: { readonly willReadFrequently: true; readonly colorSpace: "srgb" }): Context2d | null;
  getContext(kind: "webgl2"): ContextGl | null;
}

/** One cache of Cache Storage. */
export interface BrowserCache {
  match(url: string): Promise<Response | undefined>;
  put(url: string, response: Response): Promise<void>;
  delete(url: string): Promise<boolean>;
}

interface BrowserGlobals {
  readonly createImageBitmap?: (source: object, options: BitmapOptions) => Promise<Bitmap>;
  readonly OffscreenCanvas?: new (width: number, height: number) => Canvas;
  /** Absent where the page is not served over HTTPS or from localhost. */
  readonly caches?: { open(name: string): Promise<BrowserCache>; delete(name: string): Promise<boolean> };
  readonly location?: { readonly href: string };
  readonly navigator?: { readonly gpu?: { requestAdapter(): Promise<object | null> } };
}

/** The browser, or a worker in it. */
export const browser: BrowserGlobals = globalThis as unknown as BrowserGlobals; // lib "dom" has the full types, we compile without it
