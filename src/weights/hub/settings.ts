/** @file Where the cache lies, which hub is asked, and with what token: from the environment, checked once. */
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { ConfigError } from "../../core/index.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

const HUB = "https://huggingface.co";

/**
 * The cache folder: `TRICERA_CACHE`, else `tricera` in the platform's folder for caches (`XDG_CACHE_HOME` or `~/.cache`,
 * `~/Library/Caches` on macOS, `LOCALAPPDATA` on Windows).
 */
export function cacheDirOf(env: Environment = process.env, platform: NodeJS.Platform = process.platform): string {
  const own = env["TRICERA_CACHE"];
  if (own !== undefined && own !== "") return resolve(own);
  const home = env["HOME"] ?? env["USERPROFILE"] ?? homedir();
  if (platform === "darwin") return join(home, "Library", "Caches", "tricera");
  if (platform === "win32") return join(env["LOCALAPPDATA"] ?? join(home, "AppData", "Local"), "tricera", "Cache");
  const xdg = env["XDG_CACHE_HOME"];
  // the XDG specification wants relative paths ignored
  return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(home, ".cache"), "tricera");
}

/** The hub's address: `HF_ENDPOINT` (a mirror), else huggingface.co; ends without a slash. Throws ConfigError for what is no http(s) address. */
export function endpointOf(env: Environment = process.env): string {
  const text = env["HF_ENDPOINT"] ?? "";
  if (text === "") return HUB;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== "" || url.search !== "")
    throw new ConfigError(
      `Cannot use HF_ENDPOINT "${url === undefined ? text : url.origin}": wanted an http or https address without user or query; set it to the mirror's address, such as ${HUB}`,
      { keyPath: "HF_ENDPOINT" },
    );
  return url.href.replace(/\/+$/, "");
}

/** `HF_TOKEN`, or undefined. Throws ConfigError for a text that no header can carry; the token itself is never shown. */
export function tokenOf(env: Environment = process.env): string | undefined {
  const token = env["HF_TOKEN"]?.trim();
  if (token === undefined || token === "") return undefined;
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new ConfigError("Cannot use HF_TOKEN: it has spaces or characters that no header can carry; copy the token again", {
      keyPath: "HF_TOKEN",
    });
  return token;
}
