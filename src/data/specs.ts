/** @file Takes apart what `--data` is given: commas between specs, ranges of shards. */
import { ConfigError } from "../core/index.ts";

/** Splits at commas that are not inside braces. */
export function splitSpecs(spec: string): readonly string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < spec.length; i++) {
    if (spec[i] === "{") depth++;
    else if (spec[i] === "}") depth = Math.max(0, depth - 1);
    else if (spec[i] === "," && depth === 0) {
      parts.push(spec.slice(from, i));
      from = i + 1;
    }
  }
  return [...parts, spec.slice(from)].map((part) => part.trim()).filter((part) => part !== "");
}

/** More files than this are a mistake in the range. */
const MAX_FILES = 1_000_000;

/**
 * `shard-{008..010}.tar` -> shard-008.tar, shard-009.tar, shard-010.tar: as in a shell, zeros in front set the width; several ranges
 * multiply. Unlike a glob, each name is then wanted, so that a missing shard is noticed.
 */
export function expandRanges(spec: string): readonly string[] {
  const [range, first = "", last = ""] = /\{(\d+)\.\.(\d+)\}/.exec(spec) ?? [];
  if (range === undefined) return [spec];
  const [from, to] = [Number(first), Number(last)];
  const count = Math.abs(to - from) + 1;
  if (count > MAX_FILES)
    throw new ConfigError(`Cannot list "${spec}": ${range} are ${count} files, at most ${MAX_FILES} are taken; check the range`, {
      keyPath: "data.path",
    });
  const width = [first, last].some((n) => n.length > 1 && n.startsWith("0")) ? Math.max(first.length, last.length) : 0;
  const at = spec.indexOf(range);
  const tails = expandRanges(spec.slice(at + range.length));
  const names = Array.from({ length: count }, (_, i) => String(from + Math.sign(to - from) * i).padStart(width, "0"));
  return names.flatMap((n) => tails.map((tail) => spec.slice(0, at) + n + tail));
}
