import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { FormatError, InternalError, UsageError } from "../core/index.ts";
import { COMMANDS } from "./commands/index.ts";
import { formatRun } from "./library.ts";
import { exitCodeOf, formatError } from "./print-error.ts";
import { type CliRun, runCli } from "./testing/run-cli.ts";

const run = (...argv: readonly string[]): Promise<CliRun> => runCli(argv);

test.each(COMMANDS.map(({ name }) => name))("tricera %s --help shows options and examples", async (name) => {
  const { code, out } = await run(...name.split(" "), "--help");
  expect(code).toBe(0);
  expect(out).toMatch(
    new RegExp(`^tricera ${name}: .*\\n[\\s\\S]*\\n(Options|Other)\\n[\\s\\S]*--json[\\s\\S]*Examples\\n  tricera ${name}`),
  );
});

test("main() shows the overview, and the version", async () => {
  expect(await run("--help")).toMatchObject({
    code: 0,
    out: expect.stringContaining("Commands\n  train"),
  });
  expect(await run()).toMatchObject({ code: 2 });
  expect(await run("--version")).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
  });
  expect(await run("eval", "--help")).toMatchObject({
    code: 0,
    out: expect.stringContaining("eval knn"),
  });
});

test("main() offers the nearest command and option, with exit code 2", async () => {
  expect(await run("trian")).toMatchObject({
    code: 2,
    err: 'Error: Cannot run "trian": there is no such command\nHint: did you mean "train"?\n',
    out: "",
  });
  expect(await run("eval", "kn")).toMatchObject({
    code: 2,
    err: expect.stringContaining('did you mean "eval knn"?'),
  });
  expect(await run("doctor", "--jso")).toMatchObject({
    code: 2,
    err: expect.stringContaining('did you mean "--json"?'),
  });
});

test("main() prints the stack with --debug only, and one JSON object with --json", async () => {
  expect((await run("train", "--epochs", "x")).err).not.toContain("at ");
  expect((await run("train", "--epochs", "x", "--debug")).err).toMatch(/\n\s+at .*options\.ts/);
  expect(JSON.parse((await run("train", "--epochs", "x", "--json")).out)).toEqual({
    error: expect.stringContaining("--epochs"),
  });
});

test("formatError() separates message, cause and hint", () => {
  const error = new FormatError('Cannot read "a.png": it is truncated; replace the file', {
    cause: new Error("unexpected end"),
  });
  expect(formatError(error, { debug: false })).toBe(
    'Error: Cannot read "a.png": it is truncated\n  because: unexpected end\nHint: replace the file\n',
  );
  expect(formatError(new InternalError("Cannot happen: x; y"), { debug: false })).toContain("This is a bug of Tricera");
  expect(formatError("text", { debug: false })).toBe("Error: text\n");
  expect([new UsageError("x"), new FormatError("x"), "x"].map(exitCodeOf)).toEqual([2, 1, 1]);
});

test("train --config x.ts says that it runs a program; a .yaml does not", async () => {
  const dir = await mkdtemp(join(tmpdir(), "tricera-main-"));
  try {
    await writeFile(join(dir, "x.ts"), "export const config: object = { seed: 2 + 2 };\n");
    await writeFile(join(dir, "x.yaml"), "seed: 4\n");
    const code = await run("train", "--config", join(dir, "x.ts"), "--print-config");
    expect(code.err).toMatch(/^Running ".*x\.ts": a \.ts config is a program and can do anything you can/);
    expect((await run("train", "--config", join(dir, "x.yaml"), "--print-config")).err).not.toContain("program");
    expect(code).toMatchObject({ code: 2, err: expect.stringContaining("without --data") });
  } finally {
    await rm(dir, { recursive: true });
  }
});

test("bin/tricera.js runs the command line as a process", async () => {
  const bin = fileURLToPath(new URL("../../bin/tricera.js", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [bin, "doctor", "--json"]);
  expect(JSON.parse(stdout)).toMatchObject({ ok: true });
  await expect(promisify(execFile)(process.execPath, [bin, "nothing"])).rejects.toMatchObject({
    code: 2,
  });
});

test("a grouped help shows every option once, those that say what is trained first", () => {
  for (const name of ["train", "distill"]) {
    const help = COMMANDS.find((command) => command.name === name)?.help ?? "";
    const shown = [...help.matchAll(/^ {2}--([\w-]+)/gm)].map(([, option]) => option);
    expect(new Set(shown).size).toBe(shown.length);
    expect(shown.slice(0, 2)).toEqual(["data", "out"]);
    for (const option of ["set", "resume", "dense-data", "model", "precision", "help"]) expect(shown).toContain(option);
  }
});

test("formatRun() has plain words and short numbers, and says where the report is", () => {
  const result = { out: "runs/a", steps: 6, loss: 11.044425010681152, minutes: 0.0245, exported: "runs/a/exported/last", failedImages: 0 };
  expect(formatRun({ ...result, waitShare: 0.579 })).toBe(
    [
      "run            runs/a",
      "steps          6",
      "loss           11.04",
      "minutes        0.0245",
      "model          runs/a/exported/last",
      "broken images  0",
      "waited         58 % of the time for images",
      "report         runs/a/report.html",
      "",
    ].join("\n"),
  );
  expect(formatRun({ text: "seed = 0", out: "runs/a" })).toContain("seed = 0");
});
