/** @file Text made safe for pages, and short words for numbers. */

/** Text made safe for HTML and SVG, in attributes too. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

const plain = (x: number, digits: number): string => String(Number(x.toPrecision(digits)));

/** A number in few characters: `4.213`, `0.0005`, `1.2e-6`, `12,500`, `1.2M`. */
export function shortNumber(x: number, digits = 4): string {
  const size = Math.abs(x);
  if (size === 0 || !Number.isFinite(x)) return String(x);
  if (size < 1e-4) return x.toExponential(Math.max(0, Math.min(2, digits - 1))).replace(/\.?0+e/, "e");
  if (size >= 1e6) return `${plain(x / 1e6, digits)}M`;
  return size >= 1e4 ? Math.round(x).toLocaleString("en-US") : plain(x, digits);
}

/** `41.3 %` of 0.413. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** A word for a shell: quoted where it holds more than letters, digits and `_./:=@%+-`. */
export function shellWord(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
