/**
 * @file The wording of errors: each message literal of a `new …Error(` in src reads `Cannot <verb> <thing>: <state>; <what to do>`.
 *
 * InternalError and OrtError need no part after the semicolon: nobody knows what to do. Messages made elsewhere (a variable, a function)
 * are not seen.
 */
import { globSync, readFileSync } from "node:fs";

/** Errors whose whole text we write. */
const OURS = /new (Error|TypeError|RangeError|(?:[A-Z]\w*)?(?:Shape|DType|Config|Format|Usage|Platform|Internal|Ort)Error)\(\s*/g;

const NO_HINT = new Set(["InternalError", "OrtError"]);

/** The literal that `code` begins with: its text, with `{}` for what a template fills in, and where it ends. */
function readLiteral(code: string): { readonly text: string; readonly end: number } {
  const quote = code[0];
  let text = "";
  for (let i = 1; i < code.length; i++) {
    if (code[i] === quote) return { text, end: i + 1 };
    if (quote === "`" && code.startsWith("${", i)) {
      i = closingBrace(code, i + 1);
      text += "{}";
    } else if (code[i] === "\\") text += code[++i] ?? "";
    else text += code[i] ?? "";
  }
  return { text, end: code.length };
}

/** Index of the brace that closes the one at `open`. */
function closingBrace(code: string, open: number): number {
  let depth = 0;
  for (let i = open; i < code.length; i++) {
    if (code[i] === "{") depth++;
    else if (code[i] === "}" && --depth === 0) return i;
  }
  return code.length;
}

/** The message at the start of `code`: literals joined over `+`, `{}` for what is not known here; undefined where it begins with no literal. */
export function readMessage(code: string): string | undefined {
  let message: string | undefined;
  let rest = code;
  while (/^["'`]/.test(rest)) {
    const { text, end } = readLiteral(rest);
    message = (message ?? "") + text;
    const plus = /^\s*\+\s*/.exec(rest.slice(end));
    if (plus === null) return message;
    rest = rest.slice(end + plus[0].length);
  }
  return message === undefined ? undefined : `${message}{}`;
}

/** What is wrong with a message, or undefined. What a template fills in at the start or the end may be a whole part of it. */
export function checkMessage(kind: string, message: string): string | undefined {
  const begun = message.startsWith("{}");
  if (!begun && !message.startsWith("Cannot ")) return 'it does not begin with "Cannot "';
  if (!begun && !message.includes(": ")) return 'it has no ": " before the state';
  if (!NO_HINT.has(kind) && !message.includes("; ") && !message.endsWith("{}")) return 'it has no "; " before what to do';
  return message.endsWith(".") ? "it ends with a full stop" : undefined;
}

/** The badly worded errors of a source text, one line each. */
export function checkErrors(file: string, code: string): readonly string[] {
  return [...code.matchAll(OURS)].flatMap((match) => {
    const message = readMessage(code.slice(match.index + match[0].length));
    const wrong = message === undefined ? undefined : checkMessage(match[1] ?? "", message);
    const line = code.slice(0, match.index).split("\n").length;
    return wrong === undefined ? [] : [`${file}:${line} says "${message}": ${wrong}`];
  });
}

if (import.meta.main) {
  const files = globSync("src/**/*.ts").filter((file) => !/\.test\.ts$|\/testing\//.test(file));
  const problems = files.flatMap((file) => checkErrors(file, readFileSync(file, "utf8")));
  for (const problem of problems) process.stdout.write(`${problem}\n`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}
