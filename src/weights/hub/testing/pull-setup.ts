/** @file For tests of pulling: a cache and a hub for each test, and a small model on it. Importing it sets them up. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { encodeSafetensors } from "../../safetensors.ts";
import { pullModel, type PullOptions, type PullResult } from "../index.ts";
import { HubServer } from "./hub-server.ts";

export const ID = "facebook/dinov2-small";
export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const CONFIG: Uint8Array = bytes('{"model_type":"dinov2"}');
export const PROCESSOR: Uint8Array = bytes('{"do_resize":true}');

/** A whole safetensors file of about 400 kB; `seed` tells one from another. */
export function weightsOf(seed: number): Uint8Array {
  const data = Float32Array.from({ length: 100_000 }, (_, i) => (i % 977) + seed);
  return encodeSafetensors(new Map([["w", { dtype: "f32", shape: [100_000], data }]]));
}
export const WEIGHTS: Uint8Array = weightsOf(1);
export const FILES: Readonly<Record<"config.json" | "preprocessor_config.json" | "model.safetensors", Uint8Array>> = {
  "config.json": CONFIG,
  "preprocessor_config.json": PROCESSOR,
  "model.safetensors": WEIGHTS,
};

/** Those of the test that runs: a cache of its own, a hub of its own, and what the pull said. */
export let dir = "";
export let hub: HubServer;
export let notices: string[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-hub-"));
  hub = await HubServer.start();
  notices = [];
});
afterEach(async () => {
  await hub.close();
  await rm(dir, { recursive: true, force: true });
});

export function pull(id: string = ID, options: PullOptions = {}): Promise<PullResult> {
  return pullModel(id, {
    cacheDir: dir,
    endpoint: hub.url,
    token: "",
    stallMs: 5000,
    retry: { attempts: 3, firstWaitMs: 5 },
    onNotice: (line) => notices.push(line),
    ...options,
  });
}

/** What a failed pull throws. */
export async function failure(id?: string, options?: PullOptions): Promise<Error> {
  return pull(id, options).then(
    ({ path }) => expect.fail(`pulled ${path}`),
    (error: Error) => error,
  );
}

export const partPath = (name = "model.safetensors"): string => join(dir, "downloads", "facebook--dinov2-small", `${name}.part`);
