/** @file What the numbers of an objective may be. */
import { ConfigError } from "../core/index.ts";

/** Throws ConfigError unless the number is above 0 and finite. */
export function checkPositive(objective: string, name: string, value: number): void {
  if (!(value > 0 && Number.isFinite(value)))
    throw new ConfigError(`Cannot take ${objective}: ${name} is ${value}; give a number above 0`, { keyPath: name });
}
