/** @file What tests ask of a page: the public entry, and the decoding behind it. */
export { readWebPicture } from "../read-picture.ts";
export * from "../../web.ts";
