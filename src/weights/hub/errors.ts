/** @file Why a download failed, and what to do about it. */

/** A server refused, answered nonsense, or could not be reached; `status` is 0 where no answer came. */
export class DownloadError extends Error {
  override readonly name: string = "DownloadError";
  readonly url: string;
  readonly status: number;
  constructor(message: string, options: { readonly url: string; readonly status?: number; readonly cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.url = options.url;
    this.status = options.status ?? 0;
  }
}

/** A failure that another try may mend. */
export class RetryError extends Error {
  override readonly name: string = "RetryError";
  /** How long the server asks to wait. */
  readonly waitMs: number | undefined;
  constructor(message: string, options: { readonly waitMs?: number | undefined; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.waitMs = options.waitMs;
  }
}

/** An address without its query, which may hold a signature. */
export function plainUrl(url: string | URL): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
