/** @file ONNX Runtime sessions that programs of a device share where their models are equal. */
import { createHash } from "node:crypto";
import type { Owned } from "../../core/index.ts";
import type { LoweredStage } from "../onnx/index.ts";
import type { OrtEnv, OrtSession } from "./ort/index.ts";

/** Sessions of a device by their model's bytes, each kept while a program uses it. */
export class SessionCache implements Disposable {
  readonly #env: OrtEnv;
  readonly #sessions = new Map<string, { readonly session: OrtSession; users: number }>();
  constructor(env: OrtEnv) {
    this.#env = env;
  }
  /** The session of a lowered stage, until `user` is disposed. */
  take(
    { bytes, inputNames, outputNames }: LoweredStage,
    { user, planned }: { readonly user: Owned; readonly planned: boolean },
  ): OrtSession {
    const key = createHash("sha1").update(bytes).digest("hex"); // shapes are part of the bytes, and what is planned follows from them
    const open = (): OrtSession => this.#env.session(bytes, { inputs: inputNames, outputs: outputNames }, { planned });
    const entry = this.#sessions.get(key) ?? { session: open(), users: 0 };
    this.#sessions.set(key, entry);
    entry.users++;
    user.defer(() => {
      entry.users--;
      if (entry.users > 0) return;
      entry.session[Symbol.dispose]();
      this.#sessions.delete(key);
    });
    return entry.session;
  }
  [Symbol.dispose](): void {
    for (const { session } of this.#sessions.values()) session[Symbol.dispose]();
    this.#sessions.clear();
  }
}
