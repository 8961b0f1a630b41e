/** @file Which files are taken for images. */
const SUFFIX = /\.(jpe?g|jfif|png|webp|gif|avif|tiff?|svg)$/i;

/** The suffixes, for error messages. */
export const IMAGE_SUFFIXES = ".jpg .jpeg .jfif .png .webp .gif .avif .tif .tiff .svg";

/** True for a name with an image's suffix; hidden files (also macOS' `._x.jpg`) are never images. */
export function isImageName(name: string): boolean {
  const base = name.slice(name.lastIndexOf("/") + 1);
  return SUFFIX.test(base) && !base.startsWith(".");
}
