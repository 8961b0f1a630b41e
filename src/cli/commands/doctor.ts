/** @file `tricera doctor`: what this machine offers, what is missing and what to do about it. */
import { type Command, defineCommand } from "../command.ts";
import { checkMachine, formatChecks } from "../doctor-checks.ts";

export const doctorCommand: Command = defineCommand({
  name: "doctor",
  summary: "what this machine offers, and what is missing",
  about: "Exit code 0 when everything needed is there, 1 otherwise. macOS, Windows and ARM are untested.",
  examples: ["tricera doctor", "tricera doctor --json"],
  options: {},
  run: async (values, { terminal }) => {
    const checks = await checkMachine();
    const ok = checks.every(({ status }) => status !== "failed");
    terminal.out(
      values.json === true
        ? `${JSON.stringify({ ok, checks })}\n`
        : `${formatChecks(checks)}${ok ? "Ready to train.\n" : "Not ready: see the lines marked FAILED.\n"}`,
    );
    return ok ? 0 : 1;
  },
});
