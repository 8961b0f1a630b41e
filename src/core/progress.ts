/** @file What a long job tells its caller: plain events, no I/O. The command line draws them. */

/** One progress event: `done` of `total` units of `what`, with a free line of detail. */
export interface Progress {
  readonly what: string;
  readonly done: number;
  /** 0 = not known. */
  readonly total: number;
  readonly unit: string;
  readonly detail?: string;
}

export type OnProgress = (progress: Progress) => void;

/** What every long job of the library accepts. */
export interface JobOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
  /** Lines a person should read (warnings, notices). */
  readonly onNotice?: ((line: string) => void) | undefined;
}
