import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test, vi } from "vitest";
import { DirectorySync } from "../../object-store/directory-sync.ts";
import { openObjectStore } from "../../object-store/open.ts";
import { conformance } from "./conformance.ts";
import { BUCKETS, block, type Harness, harnessOf, temporaryDirectory } from "./harness.ts";

async function fileHarness(): Promise<Harness> {
  const { dir, remove } = temporaryDirectory();
  for (const bucket of BUCKETS) mkdirSync(path.join(dir, bucket));
  return harnessOf((bucket) => pathToFileURL(path.join(dir, bucket)).href, remove);
}

conformance("file", fileHarness);

describe("files that were damaged or left behind", () => {
  const place = temporaryDirectory();
  const store = openObjectStore(pathToFileURL(place.dir).href);
  afterAll(place.remove);

  test("a flipped bit is corrupt", async () => {
    const { body, crc } = block(50_000);
    await store.create("v/bit", body, { crc32c: crc });
    const file = path.join(place.dir, "v/bit");
    const bytes = readFileSync(file);
    bytes[25_000]! ^= 1;
    writeFileSync(file, bytes);
    await expect(store.read("v/bit")).rejects.toMatchObject({ code: "corrupt" });
  });

  test("a truncated file is corrupt", async () => {
    const { body, crc } = block(50_000);
    await store.create("v/cut", body, { crc32c: crc });
    truncateSync(path.join(place.dir, "v/cut"), 40_000);
    await expect(store.read("v/cut")).rejects.toMatchObject({ code: "corrupt" });
    await expect(store.head("v/cut")).rejects.toMatchObject({ code: "corrupt" });
  });

  test("an upload that a crash left behind is not listed", async () => {
    mkdirSync(path.join(place.dir, ".uploading"), { recursive: true });
    writeFileSync(path.join(place.dir, ".uploading/left"), "half");
    for await (const { key } of store.list("")) expect(key).toMatch(/^v\//);
  });

  test("an upload leaves no other file, and a delete no empty directory", async () => {
    const { body, crc } = block(10);
    await store.create("w/blocks/0a/10/0-10", body, { crc32c: crc });
    rmSync(path.join(place.dir, ".uploading/left"), { force: true });
    expect(readdirSync(path.join(place.dir, ".uploading"))).toEqual([]);
    await store.delete("w/blocks/0a/10/0-10");
    expect(readdirSync(place.dir)).not.toContain("w");
  });

  test("a closed store does not touch its directory", async () => {
    const closing = openObjectStore(pathToFileURL(place.dir).href);
    const { body, crc } = block(1_000_000);
    const creating = closing.create("z/last", body, { crc32c: crc });
    await closing.close();
    expect(existsSync(path.join(place.dir, "z/last"))).toBe(true);
    expect(readdirSync(path.join(place.dir, ".uploading"))).toEqual([]);
    await creating;
  });

  test("concurrent creates and deletes in one directory succeed", async () => {
    const { body, crc } = block(10);
    const work = async (worker: number) => {
      for (let i = 0; i < 20; i++) {
        await store.create(`x/y/${worker}`, body, { crc32c: crc });
        await store.delete(`x/y/${worker}`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, i) => work(i)));
    expect(readdirSync(place.dir)).not.toContain("x");
  });

  test.each([
    ["another has just made its directory", "d/blocks/0a", "d/blocks/0a/2/0-10"],
    ["another has just given it its name", "d/blocks/0a/1", "d/blocks/0a/1/0-10"],
  ])("an object is not durable before its name is, where %s", async (_, named, key) => {
    const { body, crc } = block(10);
    const place = temporaryDirectory();
    const store = openObjectStore(pathToFileURL(place.dir).href);
    const release = Promise.withResolvers<void>();
    const isBegun = Promise.withResolvers<void>();
    // The first sync of the directory that holds the name takes long.
    const directory = path.join(place.dir, named.endsWith("/1") ? named : path.dirname(named));
    const { sync } = DirectorySync.prototype;
    const spy = vi.spyOn(DirectorySync.prototype, "sync").mockImplementation(async function (this: DirectorySync, at) {
      if (at === directory) {
        isBegun.resolve();
        await release.promise;
      }
      return await Reflect.apply(sync, this, [at]);
    });
    const first = store.create("d/blocks/0a/1/0-10", body, { crc32c: crc });
    await isBegun.promise;
    const second = store.create(key, body, { crc32c: crc });
    expect(await Promise.race([second, delay(200).then(() => "not durable yet")])).toBe("not durable yet");
    release.resolve();
    await Promise.all([first, second]);
    spy.mockRestore();
    place.remove();
  });

  test("a key that would leave the directory is refused", async () => {
    for (const key of ["../out", "a//b", "/a", "a/./b", "", "a/", ".uploading/x"]) {
      await expect(store.head(key), key).rejects.toThrow(TypeError);
    }
  });

  test("a missing bucket is not created", async () => {
    const gone = openObjectStore(pathToFileURL(path.join(place.dir, "not-mounted")).href);
    const { body, crc } = block(10);
    await expect(gone.create("v/a", body, { crc32c: crc })).rejects.toMatchObject({ code: "noBucket" });
    expect(readdirSync(place.dir)).not.toContain("not-mounted");
  });
});

test("only the owner may read objects; the bucket keeps the mode that its user gave it (defect 26)", async () => {
  const { dir, remove } = temporaryDirectory();
  chmodSync(dir, 0o755);
  const store = openObjectStore(pathToFileURL(dir).href);
  const { body, crc } = block(1000);
  await store.create("v/one/two", body, { crc32c: crc });
  const modes = ["", "v", "v/one", "v/one/two"].map((name) => statSync(path.join(dir, name)).mode & 0o777);
  remove();
  expect(modes.map((mode) => mode.toString(8))).toEqual(["755", "700", "700", "600"]);
});
