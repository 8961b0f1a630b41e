import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join, resolve, sep } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ConfigError } from "../../core/index.ts";
import {
  cacheDirOf,
  cacheFolders,
  endpointOf,
  isHubId,
  listCache,
  parseModelRef,
  removeCached,
  resolveCached,
  resolveModelPath,
  tokenOf,
} from "./index.ts";
import { isLocked, withLock } from "./lock.ts";
import { formatManifest, type Manifest, readManifest } from "./manifest.ts";
import { cardLicence, parsePointer, shardNames } from "./sources.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "tricera-cache-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function put(
  name: string,
  id: string,
  options: { readonly kind?: "models" | "downloads"; readonly file?: string } = {},
): Promise<string> {
  const { kind = "models", file = "model.safetensors" } = options;
  const at = join(dir, kind, name);
  await mkdir(at, { recursive: true });
  await writeFile(join(at, file), "12345");
  const manifest: Manifest = {
    formatVersion: 1,
    id,
    revision: "main",
    source: "http://x",
    files: kind === "models" ? [{ name: file, sizeBytes: 5, sha256: "", checkedBy: "size" }] : [],
  };
  await writeFile(join(at, "tricera-model.json"), formatManifest(manifest));
  return at;
}

describe("settings", () => {
  test("cacheDirOf() follows TRICERA_CACHE, then the platform", () => {
    expect(cacheDirOf({ TRICERA_CACHE: "here", HOME: "/h" }, "linux")).toBe(resolve("here"));
    expect(cacheDirOf({ HOME: "/h" }, "linux")).toBe(join("/h", ".cache", "tricera"));
    expect(cacheDirOf({ HOME: "/h", XDG_CACHE_HOME: "/x" }, "linux")).toBe(join("/x", "tricera"));
    expect(cacheDirOf({ HOME: "/h", XDG_CACHE_HOME: "x" }, "linux")).toBe(join("/h", ".cache", "tricera"));
    expect(cacheDirOf({ HOME: "/h" }, "darwin")).toBe(join("/h", "Library", "Caches", "tricera"));
    expect(cacheDirOf({ LOCALAPPDATA: "/l", HOME: "/h" }, "win32")).toBe(join("/l", "tricera", "Cache"));
  });

  test("endpointOf() takes a mirror, with a path too, and refuses what is no address without showing a password", () => {
    expect(endpointOf({})).toBe("https://huggingface.co");
    expect(endpointOf({ HF_ENDPOINT: "http://mirror:8080/hf/" })).toBe("http://mirror:8080/hf");
    for (const bad of ["mirror", "ftp://x", "https://me:secret@x", "https://x/?a=1"])
      expect(() => endpointOf({ HF_ENDPOINT: bad })).toThrow(/^(?!.*secret)Cannot use HF_ENDPOINT/);
  });

  test("tokenOf() refuses what no header can carry, and never shows it", () => {
    expect(tokenOf({ HF_TOKEN: " hf_x\n" })).toBe("hf_x");
    expect(tokenOf({ HF_TOKEN: "" })).toBeUndefined();
    expect(() => tokenOf({ HF_TOKEN: "hf x\r\ny" })).toThrow(/^Cannot use HF_TOKEN: it has spaces/);
  });
});

describe("resolveModelPath()", () => {
  test("gives an existing folder, then the cache, and names the pull that is missing", async () => {
    const options = { cacheDir: dir };
    expect(await resolveModelPath(dir, options)).toBe(dir);
    const error = await resolveModelPath("facebook/dinov2-small", options).then(
      () => expect.fail(),
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toMatch(
      /no folder or file of that name exists, and it is not in the cache .*; run `tricera models pull facebook\/dinov2-small`$/,
    );
    const at = await put("facebook--dinov2-small", "facebook/dinov2-small");
    expect(await resolveModelPath("facebook/dinov2-small", options)).toBe(at);
    await expect(resolveModelPath("dinov2_vits14", options)).rejects.toThrow(/or use "facebook\/dinov2-small", which is there$/);
    await expect(resolveModelPath("facebook/dinov2-small", { ...options, revision: "v1" })).rejects.toThrow("--revision v1`");
  });

  test("is undefined for what is neither there nor to be pulled", async () => {
    for (const name of ["no/such/folder", "runs/../x", "dino_vitt16", "nothing", "../x"])
      expect(await resolveModelPath(name, { cacheDir: dir }), name).toBeUndefined();
  });

  test("a path that is mistyped is no id where its folder is here", async () => {
    const before = process.cwd();
    process.chdir(dir);
    try {
      await expect(resolveModelPath("runs/frist", { cacheDir: dir })).rejects.toThrow(
        /; check the path, or run `tricera models pull runs\/frist` if/,
      );
      await mkdir("runs/first", { recursive: true });
      expect(await resolveModelPath("runs/frist", { cacheDir: dir })).toBeUndefined();
    } finally {
      process.chdir(before);
    }
  });

  test("an existing folder of an id's name wins over the cache", async () => {
    await put("own--vit", "own/vit");
    const before = process.cwd();
    process.chdir(dir);
    try {
      await mkdir("own/vit", { recursive: true });
      expect(await resolveModelPath("own/vit", { cacheDir: dir })).toBe("own/vit");
    } finally {
      process.chdir(before);
    }
  });

  test("resolveCached() gives the file of an original", async () => {
    const at = await put("dino_vits16", "dino_vits16", { file: "dino_deitsmall16_pretrain.pth" });
    expect(await resolveCached("dino_vits16", { cacheDir: dir })).toBe(join(at, "dino_deitsmall16_pretrain.pth"));
  });
});

describe("listCache() and removeCached()", () => {
  test("know our folders only: others, links and damaged ones are left alone", async () => {
    const a = await put("a--b", "a/b");
    const c = await put("c--d", "c/d", { kind: "downloads", file: "model.safetensors.part" });
    await mkdir(join(dir, "models", "photos"), { recursive: true });
    await writeFile(join(dir, "models", "photos", "x.jpg"), "x");
    const elsewhere = join(dir, "elsewhere");
    await mkdir(elsewhere);
    await writeFile(join(elsewhere, "tricera-model.json"), await readFile(join(a, "tricera-model.json")));
    await symlink(elsewhere, join(dir, "models", "link"));
    const listed = await listCache({ cacheDir: dir });
    expect(listed.map(({ id, state, path }) => [id, state, path])).toEqual([
      ["a/b", "whole", a],
      ["c/d", "unfinished", c],
    ]);
    expect(listed[0]?.sizeBytes).toBe(5 + (await readFile(join(a, "tricera-model.json"))).length);
    expect(await removeCached(listed)).toEqual(listed);
    expect(await listCache({ cacheDir: dir })).toEqual([]);
    expect((await readdir(join(dir, "models"))).toSorted()).toEqual(["link", "photos"]);
    expect(await readdir(elsewhere)).toEqual(["tricera-model.json"]);
  });

  test("a pull that is under way is shown as busy and stays", async () => {
    const at = await put("c--d", "c/d", { kind: "downloads" });
    await withLock(at, async () => {
      const listed = await listCache({ cacheDir: dir });
      expect(listed[0]?.state).toBe("busy");
      expect(await removeCached(listed)).toEqual([]);
    });
    expect((await listCache({ cacheDir: dir }))[0]?.state).toBe("unfinished");
  });

  test("a cache that is not there is empty", async () => {
    expect(await listCache({ cacheDir: join(dir, "no") })).toEqual([]);
  });
});

describe("withLock()", () => {
  test("a lock of a process of this machine that is gone is taken at once", async () => {
    await writeFile(join(dir, "lock"), `${hostname()} 4194303 x`); // above Linux's usual highest process id
    expect(await isLocked(dir)).toBe(false);
    let waited = 0;
    expect(await withLock(dir, () => Promise.resolve(7), { onWait: () => waited++ })).toBe(7);
    expect(waited).toBe(0);
    expect(await readdir(dir)).toEqual([]);
  });

  test("a lock of this process id that this process never took is of an earlier one", async () => {
    await writeFile(join(dir, "lock"), `${hostname()} ${process.pid} x`);
    expect(await withLock(dir, () => Promise.resolve(7))).toBe(7);
  });

  test("a lock of another machine counts as alive while it is touched, and is taken when it is not", async () => {
    await writeFile(join(dir, "lock"), "elsewhere 1 x");
    const touching = setInterval(() => void utimes(join(dir, "lock"), new Date(), new Date()).catch(() => undefined), 50);
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 900);
    await expect(withLock(dir, () => Promise.resolve(7), { deadAfterMs: 400, signal: stop.signal })).rejects.toMatchObject({
      name: "AbortError",
    });
    clearInterval(touching);
    expect(await withLock(dir, () => Promise.resolve(7), { deadAfterMs: 400 })).toBe(7);
  });

  test("ten at once run one after another", async () => {
    let inside = 0;
    const runs = Array.from({ length: 10 }, () =>
      withLock(dir, async () => {
        expect(++inside).toBe(1);
        await new Promise((done) => setTimeout(done, 5));
        return --inside;
      }),
    );
    expect(await Promise.all(runs)).toEqual(Array(10).fill(0));
  });

  test("what the work throws comes out, and the lock is let go", async () => {
    await expect(withLock(dir, () => Promise.reject(new Error("x")))).rejects.toThrow("x");
    expect(await isLocked(dir)).toBe(false);
  });

  test.skipIf(process.getuid?.() === 0)("a folder that cannot be written to is an error, not a wait", async () => {
    await chmod(dir, 0o500);
    await expect(withLock(dir, () => Promise.resolve(7))).rejects.toThrow(/EACCES/);
    await chmod(dir, 0o700);
  });
});

describe("what others wrote", () => {
  test("a name never leads out of the cache", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (name, revision) => {
        try {
          const { whole, downloads } = cacheFolders(parseModelRef(name, { revision }), dir);
          for (const path of [whole, downloads]) expect(path.slice(dir.length + 1).split(sep)).toHaveLength(2);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      }),
    );
    for (const bad of ["a/..", "../a", "a/b/c", "a--b/c", "a/.b", "a/b.", "/a", "a/", "a b/c", "a\\b/c", `a/${"x".repeat(300)}`])
      expect(isHubId(bad), bad).toBe(false);
  });

  test("a manifest that was changed is one that is whole or none", async () => {
    const at = await put("a--b", "a/b");
    const file = join(at, "tricera-model.json");
    const text = await readFile(file, "utf8");
    await fc.assert(
      fc.asyncProperty(fc.nat(text.length), fc.nat(3), fc.string({ maxLength: 4 }), async (from, gone, put) => {
        await writeFile(file, text.slice(0, from) + put + text.slice(from + gone));
        const manifest = await readManifest(at);
        for (const { name, sizeBytes } of manifest?.files ?? []) {
          expect(name).toMatch(/^\w[\w.-]*$/);
          expect(sizeBytes).toBeGreaterThanOrEqual(0);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("shardNames() gives names of the folder, or an error", () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        try {
          for (const name of shardNames(JSON.parse(json))) expect(name).toMatch(/^\w[\w.-]*\.safetensors$/);
        } catch (error) {
          expect(error).toMatchObject({ name: "FormatError" });
        }
      }),
    );
    expect(shardNames({ weight_map: { a: "b.safetensors", c: "a.safetensors", d: "b.safetensors" } })).toEqual([
      "a.safetensors",
      "b.safetensors",
    ]);
  });

  test("cardLicence() and parsePointer() read what they know and nothing else", () => {
    expect(cardLicence("---\nlicense: apache-2.0\n---\n")).toBe("apache-2.0");
    expect(cardLicence('---\r\nlicense: "other"\r\nlicense_name: dinov3-license\r\n---\r\n')).toBe("dinov3-license");
    expect(cardLicence("license: mit\n")).toBeUndefined();
    expect(cardLicence("---\nlicense: [a, b]\n---\n")).toBeUndefined();
    const oid = "ab".repeat(32);
    expect(parsePointer(`version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize 5\n`)).toBe(oid);
    expect(parsePointer(`oid sha256:${oid}\n`)).toBeUndefined();
  });
});
