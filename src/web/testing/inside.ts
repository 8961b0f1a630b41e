/** @file What tests ask of a page: the public entry, and the decoding behind it. */
export * from "../../web.ts"; // first, as it is loaded before all else in a page
export { readWebPicture } from "../read-picture.ts";
