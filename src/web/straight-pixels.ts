/** @file Pixels of a bitmap without the loss of a canvas, which stores colours multiplied by alpha. */
import { type Bitmap, browser } from "./browser.ts";

/** RGBA as it was decoded, alpha not multiplied in; undefined where the browser has no WebGL 2 or the picture is too large for it. */
export function straightPixels(bitmap: Bitmap): Uint8Array | undefined {
  const gl = browser.OffscreenCanvas === undefined ? undefined : new browser.OffscreenCanvas(1, 1).getContext("webgl2");
  if (gl === undefined || gl === null) return undefined;
  const { width, height } = bitmap;
  if (Math.max(width, height) > Number(gl.getParameter(gl.MAX_TEXTURE_SIZE))) return undefined;
  try {
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, 0);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE) return undefined;
    const pixels = new Uint8Array(width * height * 4);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    return pixels;
  } finally {
    gl.getExtension("WEBGL_lose_context")?.loseContext?.(); // a page may have a few contexts only
  }
}
