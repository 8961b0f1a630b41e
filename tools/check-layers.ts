/** @file Layer rules: a room imports lower rooms only, through their index; native libraries and Node's own modules have their places. */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize, sep } from "node:path";

/** Low to high. */
const ROOMS = "core engine nn objectives optim weights images data features evals views methods train tasks curate studio cli web".split(
  " ",
);
/** The engine's own rooms, low to high. */
const ENGINE = "ir trace grad passes onnx stablehlo runtime".split(" ");
/** Rooms that see of the engine the tracer only. */
const TRACE_ONLY = new Set(["nn", "objectives", "optim"]);
const NATIVE: readonly (readonly [pattern: RegExp, only: string])[] = [
  [/^sharp$/, "src/images/node/"],
  [/^(koffi|onnxruntime-node)$/, "src/engine/runtime/"],
];
/** What runs in a browser too, or does no I/O. */
const NO_NODE = /^src\/(core|engine\/(?!runtime\/(?!web\/))|nn|objectives|images\/(?!node\/)|web\/|web\.ts)/;

const roomOf = (file: string): string | undefined => /^src\/([^/]+)\//.exec(file)?.[1];
const engineRoomOf = (file: string): string | undefined => /^src\/engine\/([^/]+)\//.exec(file)?.[1];
const isTest = (file: string): boolean => /\.test\.ts$|\/testing\//.test(file);

/** The rule that an import within `order` breaks, from one room to another. */
function checkOrder(order: readonly string[], from: string, to: string): string | undefined {
  for (const room of [from, to]) if (!order.includes(room)) return `${room} is in no list of rooms (tools/check-layers.ts)`;
  return order.indexOf(to) > order.indexOf(from) ? `${to} is above ${from}` : undefined;
}

/** The rule that a file's import breaks, in words; undefined where it breaks none. */
export function checkImport(file: string, specifier: string): string | undefined {
  for (const [pattern, only] of NATIVE)
    if (pattern.test(specifier) && !file.startsWith(only)) return `${file} imports ${specifier}: only ${only} may`;
  if (specifier.startsWith("onnxruntime-web") && !file.startsWith("src/engine/runtime/web/") && !isTest(file))
    return `${file} imports ${specifier}: only src/engine/runtime/web/ may`;
  if (specifier.startsWith("node:") && NO_NODE.test(file) && !isTest(file))
    return `${file} imports ${specifier}: this part runs without Node`;
  if (!specifier.startsWith(".")) return undefined;
  const target = normalize(join(dirname(file), specifier))
    .split(sep)
    .join("/");
  const wrong = checkRooms(file, target);
  return wrong === undefined ? undefined : `${file} imports ${target}: ${wrong}`;
}

function checkRooms(file: string, target: string): string | undefined {
  const [from, to] = [roomOf(file), roomOf(target)];
  if (from === undefined || to === undefined) return undefined;
  if (from === to) return checkWithin(file, target);
  const order = checkOrder(ROOMS, from, to);
  if (order !== undefined || isTest(file)) return order;
  if (to === "engine" && TRACE_ONLY.has(from) && engineRoomOf(target) !== "trace") return `${from} sees the engine's trace only`;
  // web picks the files of a room that run without Node; its bundle is tested to have none
  return from === "web" || target.endsWith("/index.ts") ? undefined : `import ${to}'s index.ts`;
}

/** Rules inside a room: the engine's order, and `images` without its Node part. */
function checkWithin(file: string, target: string): string | undefined {
  if (isTest(file)) return undefined;
  const [from, to] = [engineRoomOf(file), engineRoomOf(target)];
  if (from !== undefined && to !== undefined && from !== to) return checkOrder(ENGINE, from, to);
  if (target.startsWith("src/images/node/") && !file.startsWith("src/images/node/")) return "the rest of images runs in a browser";
  return undefined;
}

/** The broken rules of a file's text: `import`, `export … from` and `import()`, types too. */
export function checkSource(file: string, text: string): readonly string[] {
  const imports = [...text.matchAll(/^(?:import|export)\b[^;"]*?\bfrom "([^"]+)"|^import "([^"]+)"|\bimport\("([^"]+)"\)/gms)];
  return imports.flatMap(([, from, bare, dynamic]) => checkImport(file, from ?? bare ?? dynamic ?? "") ?? []);
}

if (import.meta.main) {
  const problems = globSync("src/**/*.ts").flatMap((file) => checkSource(file.split(sep).join("/"), readFileSync(file, "utf8")));
  for (const problem of problems) process.stdout.write(`${problem}\n`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}
