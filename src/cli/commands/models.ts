/** @file `tricera models list`: the networks a configuration can name. */
import { type Command, defineCommand } from "../command.ts";
import { loadTrainRoom } from "../library.ts";

export const modelsListCommand: Command = defineCommand({
  name: "models list",
  summary: "the networks that --model of train can name, with their sizes",
  about: "Any patch size may follow `_patch`; `--set model.width=...` and the like change a preset.",
  examples: ["tricera models list", "tricera models list --json"],
  options: {},
  run: async (values, { terminal }) => {
    const { ARCH_PRESETS } = await loadTrainRoom();
    const rows = ARCH_PRESETS.map((preset) => ({ ...preset }));
    if (values.json === true) terminal.out(`${JSON.stringify(rows)}\n`);
    else
      for (const { name, width, depth, heads, parameters } of rows)
        terminal.out(`${name.padEnd(20)} width ${width}, ${depth} blocks, ${heads} heads, ${(parameters / 1e6).toFixed(1)} M parameters\n`);
    return 0;
  },
});
