/** @file Resources owned together: what `DisposableStack` does, which Node 22 lacks. */

/** Gives up what it owns in reverse order, each once; an error does not keep the rest. */
export class Owned implements Disposable {
  #releases: (() => void)[] = [];

  /** Owns a resource and returns it. */
  use<T extends Disposable>(resource: T): T {
    this.#releases.push(() => resource[Symbol.dispose]());
    return resource;
  }

  /** Runs `release` at the end. */
  defer(release: () => void): void {
    this.#releases.push(release);
  }

  /** Hands everything to a new owner; nothing is left here. */
  move(): Owned {
    const owner = new Owned();
    owner.#releases = this.#releases;
    this.#releases = [];
    return owner;
  }

  /** Throws the first error of a release, after all have run. */
  [Symbol.dispose](): void {
    const errors: unknown[] = [];
    for (const release of this.#releases.splice(0).reverse())
      try {
        release();
      } catch (error) {
        errors.push(error);
      }
    if (errors.length > 0) throw errors[0];
  }
}
