/** @file A configuration as people read it: one line a value, with its reason. */
import type { ResolvedConfig, TrainConfig } from "./types.ts";

/** The configuration as `--print-config` shows it: one line a value, `key = value  # reason`, then what is unwise. */
export function formatConfig({ config, reasons, warnings = [] }: ResolvedConfig): string {
  const rows = flatten(config).map(([key, value]): [string, string] => [`${key} = ${JSON.stringify(value)}`, reasons[key] ?? ""]);
  const wide = Math.min(56, Math.max(...rows.map(([left]) => left.length)));
  const lines = rows.map(([left, reason]) => (reason === "" ? left : `${left.padEnd(wide)}  # ${reason}`));
  return [...lines, ...warnings.map((warning) => `# Warning: ${warning}`)].join("\n");
}

/** Every key path with its value, in the order of the configuration. */
export function flatten(config: TrainConfig): readonly (readonly [keyPath: string, value: unknown])[] {
  return Object.entries(config).flatMap(([name, value]: [string, unknown]): (readonly [string, unknown])[] =>
    typeof value === "object" && value !== null
      ? Object.entries(value).map(([key, inner]: [string, unknown]) => [`${name}.${key}`, inner] as const)
      : [[name, value] as const],
  );
}
