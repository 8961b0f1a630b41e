import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

test("package-lock.json keeps npm from running the post-install of onnxruntime-node and koffi", async () => {
  const { packages }: { readonly packages: Readonly<Record<string, object>> } = JSON.parse(
    await readFile(fileURLToPath(new URL("../package-lock.json", import.meta.url)), "utf8"),
  );
  for (const name of ["onnxruntime-node", "koffi"]) {
    // npm 10 has no allowScripts: it runs what the lock file marks. After an update, delete the mark again (notes/DEPENDENCIES.md)
    expect(packages[`node_modules/${name}`], name).toBeDefined();
    expect(packages[`node_modules/${name}`], name).not.toHaveProperty("hasInstallScript");
  }
});
