/** @file Gaussian blur as PIL does it: three extended box blurs along rows, then three along columns, bytes after each. */
import { ConfigError } from "../core/index.ts";
import { checkImage, type RgbImage } from "./image.ts";
import { arenaOf, boxByKernel } from "./simd/passes.ts";

const PASSES = 3;

/** The box radius whose three passes have deviation sigma (Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box filtering"). */
export function boxRadius(sigma: number): number {
  const variance = (sigma * sigma) / PASSES;
  const whole = Math.floor((Math.sqrt(12 * variance + 1) - 1) / 2);
  const edge = ((2 * whole + 1) * (whole * (whole + 1) - 3 * variance)) / (6 * (variance - (whole + 1) * (whole + 1)));
  return Math.fround(whole + edge);
}

/** A blurred copy. Throws ConfigError unless sigma is 0 or more. */
export function blur(image: RgbImage, sigma: number): RgbImage {
  checkImage(image);
  if (!(sigma >= 0) || !Number.isFinite(sigma)) throw new ConfigError(`Cannot blur image: sigma is ${sigma}; give 0 or more pixels`);
  const data = image.data.slice();
  blurInto(data, { ...image, sigma });
  return { ...image, data };
}

interface BlurJob {
  readonly width: number;
  readonly height: number;
  readonly sigma: number;
}

let plainPing = new Uint8Array(0);
let plainPong = new Uint8Array(0);

/** Two buffers of that length, where the SIMD kernels reach them if they reach the picture. */
function buffersOf(data: Uint8Array): readonly [Uint8Array, Uint8Array] {
  const arena = arenaOf(data);
  const near = [arena?.take("ping", data.length), arena?.take("pong", data.length)] as const;
  if (near[0] !== undefined && near[1] !== undefined) return [near[0], near[1]];
  if (plainPing.length < data.length) {
    plainPing = new Uint8Array(data.length);
    plainPong = new Uint8Array(data.length);
  }
  return [plainPing, plainPong];
}

/** In place on HWC bytes; two buffers are kept between calls. */
export function blurInto(data: Uint8Array, { width, height, sigma }: BlurJob): void {
  const radius = boxRadius(sigma);
  if (!(radius > 0)) return;
  const [ping, pong] = buffersOf(data);
  const box = makeBox(radius);
  // Rows: a step of one pixel is 3 bytes, a line is one row. Columns: a step is one row, and the picture is one bundle of columns.
  const rows = { lines: height, length: width, step: 3 };
  const columns = { lines: 1, length: height, step: width * 3 };
  pass(data, ping, rows, box);
  pass(ping, pong, rows, box);
  pass(pong, ping, rows, box);
  pass(ping, pong, columns, box);
  pass(pong, ping, columns, box);
  pass(ping, data, columns, box);
}

interface BoxFilter {
  readonly whole: number;
  /** Weight of the pixels inside, and of the two at the ends, with 24 fractional bits. */
  readonly inner: number;
  readonly outer: number;
}

function makeBox(radius: number): BoxFilter {
  const whole = Math.trunc(radius);
  const inner = Math.trunc(Math.fround((1 << 24) / Math.fround(radius * 2 + 1))); // PIL divides in float32
  return { whole, inner, outer: Math.trunc(((1 << 24) - (whole * 2 + 1) * inner) / 2) };
}

/** `lines` independent blocks of `length` steps, each step `step` bytes that never mix. */
interface Lines {
  readonly lines: number;
  readonly length: number;
  readonly step: number;
}

function pass(from: Uint8Array, to: Uint8Array, lines: Lines, box: BoxFilter): void {
  if (lines.length < 2 * box.whole + 4 || box.whole > 1) return anyPass(from, to, lines, box);
  const { length, step } = lines;
  const blockBytes = length * step;
  const reach = (box.whole + 1) * step;
  // One span over all lines: what it makes of two lines at their ends is made again by their edges.
  const span = { start: reach, bytes: lines.lines * blockBytes - 2 * reach, step, inner: box.inner, outer: box.outer };
  if (boxByKernel(box.whole === 0 ? "three" : "five", [from, to], span)) {
    for (let line = 0; line < lines.lines; line++) edges(from, to, { start: line * blockBytes, length, step }, box);
    return;
  }
  for (let line = 0; line < lines.lines; line++) {
    const start = line * blockBytes;
    const end = start + blockBytes;
    edges(from, to, { start, length, step }, box);
    if (box.whole === 0) threeTaps(from, to, { start: start + reach, end: end - reach, step }, box);
    else fiveTaps(from, to, { start: start + reach, end: end - reach, step }, box);
  }
}

interface Span {
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

function threeTaps(from: Uint8Array, to: Uint8Array, { start, end, step }: Span, { inner, outer }: BoxFilter): void {
  for (let i = start; i < end; i++)
    to[i] = (Math.imul(from[i]!, inner) + Math.imul(from[i - step]! + from[i + step]!, outer) + 0x800000) >>> 24; // edges are left out of the span
}

function fiveTaps(from: Uint8Array, to: Uint8Array, { start, end, step }: Span, { inner, outer }: BoxFilter): void {
  const far = 2 * step;
  for (let i = start; i < end; i++) {
    const near = from[i - step]! + from[i]! + from[i + step]!; // edges are left out of the span
    to[i] = (Math.imul(near, inner) + Math.imul(from[i - far]! + from[i + far]!, outer) + 0x800000) >>> 24;
  }
}

interface Block {
  readonly start: number;
  readonly length: number;
  readonly step: number;
}

/** The first and last `whole + 1` steps of a block, where the window reaches over the end and the end pixel repeats. */
function edges(from: Uint8Array, to: Uint8Array, { start, length, step }: Block, box: BoxFilter): void {
  for (let n = 0; n <= box.whole; n++)
    for (let c = 0; c < step; c++) {
      at(from, to, { start: start + c, length, step, x: n }, box);
      at(from, to, { start: start + c, length, step, x: length - 1 - n }, box);
    }
}

/** One value by the definition: inner * sum(|d| <= whole) + outer * (the two at whole + 1), indices clamped. */
function at(from: Uint8Array, to: Uint8Array, { start, length, step, x }: Block & { readonly x: number }, box: BoxFilter): void {
  const { whole, inner, outer } = box;
  const read = (i: number): number => from[start + Math.min(length - 1, Math.max(0, i)) * step]!; // clamped into the line
  let near = 0;
  for (let d = -whole; d <= whole; d++) near += read(x + d);
  to[start + x * step] = (Math.imul(near, inner) + Math.imul(read(x - whole - 1) + read(x + whole + 1), outer) + 0x800000) >>> 24;
}

/** Any radius and length: a running sum along each line. */
function anyPass(from: Uint8Array, to: Uint8Array, { lines, length, step }: Lines, { whole, inner, outer }: BoxFilter): void {
  for (let line = 0; line < lines; line++)
    for (let c = 0; c < step; c++) {
      const start = line * length * step + c;
      const read = (i: number): number => from[start + (i < 0 ? 0 : i >= length ? length - 1 : i) * step]!; // clamped into the line
      let near = 0;
      for (let d = -whole; d <= whole; d++) near += read(d);
      for (let x = 0; x < length; x++) {
        const ends = read(x - whole - 1) + read(x + whole + 1);
        to[start + x * step] = (Math.imul(near, inner) + Math.imul(ends, outer) + 0x800000) >>> 24;
        near += read(x + whole + 1) - read(x - whole);
      }
    }
}
