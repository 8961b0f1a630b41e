/** @file Memory for the values between a program's stages, which programs that never run at the same time share. */
import { InternalError } from "../../core/index.ts";

/** One memory as large as the largest program over it wants. Give the programs of a step one arena: they run one after the other. */
export class Arena {
  #bytes = 64;
  #memory = new ArrayBuffer(0);
  #held = false;

  /** What its largest program wants. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Says that a program wants so many bytes, before it first runs: memory is taken once, when all have said so. */
  reserve(bytes: number): void {
    this.#bytes = Math.max(this.#bytes, bytes);
  }

  /** Takes the arena for a run. Returns its memory: another buffer than before once a larger program has come. Throws InternalError while it is taken. */
  hold(): ArrayBuffer {
    if (this.#held) throw new InternalError("Cannot run program: another over the same arena is running; await it first");
    if (this.#memory.byteLength < this.#bytes) this.#memory = new ArrayBuffer(this.#bytes);
    this.#held = true;
    return this.#memory;
  }

  release(): void {
    this.#held = false;
  }
}
