/** @file A method's whole training step on random crops, ready to be timed. */
import { Rng } from "../../src/core/index.ts";
import type { Device } from "../../src/engine/runtime/index.ts";
import type { HeadedConfig, Method } from "../../src/methods/index.ts";
import { type StepScalars, Stepper } from "../../src/train/stepper.ts";

/** Crops `[count·batch, 3, size, size]` of normal noise. */
export function randomCrops(count: number, size: number, batch: number): Float32Array {
  const rng = new Rng(count);
  return Float32Array.from({ length: count * batch * 3 * size * size }, () => rng.normal());
}

export interface MethodStepOptions {
  readonly device: Device;
  readonly method: Method;
  readonly config: HeadedConfig;
  readonly scalars: StepScalars;
  readonly checkpointing: boolean;
}

/** A stepper over fixed crops. A Gram teacher is a copy of the student at its start and sees the same global crops. */
export class MethodStep implements AsyncDisposable {
  readonly stepper: Stepper;
  readonly #options: MethodStepOptions;
  readonly #crops: { readonly globals: Float32Array; readonly locals: Float32Array };
  readonly #rng = new Rng(0);
  #step = 0;

  constructor(options: MethodStepOptions) {
    this.#options = options;
    const { device, method, config, checkpointing } = options;
    this.stepper = new Stepper({
      method,
      device,
      optimizer: { kind: "adamw", beta1: 0.9, beta2: 0.999, eps: 1e-8 },
      threads: device.threads,
      checkpointing,
    });
    this.stepper.init(this.#rng);
    for (const { name, specs } of method.fixed)
      for (const s of specs) this.stepper.fixed.get(name)?.view(s.name).set(this.stepper.flats.params.view(s.name));
    const { globalSizePx, localSizePx, localCount } = config.crops;
    this.#crops = {
      globals: randomCrops(2, globalSizePx, config.batchSize),
      locals: randomCrops(localCount, localSizePx, config.batchSize),
    };
  }

  /** One step: forwards, loss, backward, clip, AdamW, moving average. Throws RangeError where the loss is no number. */
  async run(): Promise<void> {
    const { globals, locals } = this.#crops;
    const gramCrops = this.#options.method.fixed.length > 0 ? globals : undefined;
    const { loss, optimizer } = await this.stepper.step({
      globals,
      locals,
      gramCrops,
      step: this.#step++,
      rng: this.#rng,
      scalars: this.#options.scalars,
    });
    if (!Number.isFinite(loss) || !optimizer.applied)
      throw new RangeError(`Cannot time the step: its loss is ${loss}, and it moved nothing; mend the step first`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stepper[Symbol.asyncDispose]();
  }
}
