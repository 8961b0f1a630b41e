#!/usr/bin/env node
// Starts the command line. Plain, old JavaScript, so that an old Node can say what it lacks.
import { existsSync } from "node:fs";

const major = Number(process.versions.node.split(".")[0]);
if (major < 22) {
  process.stderr.write(
    `Error: Cannot run tricera: it needs Node 22 or later and this is Node ${process.versions.node}\n` +
      "Hint: install Node 24 (https://nodejs.org), or put it beside tricera with `npm i node@24` and start it with `npx tricera`\n",
  );
  process.exit(1);
}

const built = new URL("../dist/cli/main.js", import.meta.url);
const source = new URL("../src/cli/main.ts", import.meta.url);
if (!existsSync(built) && !existsSync(source)) {
  process.stderr.write("Error: Cannot run tricera: dist/ is missing\nHint: build it with `npm run build`, or install the package again\n");
  process.exit(1);
}
const { runProcess } = await import((existsSync(built) ? built : source).href);
await runProcess(process.argv.slice(2));
