import { configDefaults, defineConfig, type ViteUserConfig } from "vitest/config";

/** Long tests run in `npm test` (which sets TRICERA_SLOW) and where one is named on the command line. */
const isSlow = process.env["TRICERA_SLOW"] === "1" || process.argv.some((word) => word.includes(".slow"));

const config: ViteUserConfig = defineConfig({
  test: {
    include: ["src/**/*.test.ts", "tools/**/*.test.ts", "recipes/**/*.test.ts"],
    exclude: [...configDefaults.exclude, ...(isSlow ? [] : ["**/*.slow.test.ts"])],
    setupFiles: ["src/core/testing/property-seed.ts"],
    testTimeout: 60_000,
    pool: "forks",
  },
});
export default config;
