import { mkdtempSync } from "node:fs";
import { chmod, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { crc32c } from "../../../../base/crc32c.ts";
import { DiskCache } from "../../../../client/volume/blocks/disk-cache.ts";
import type { SliceId } from "../../../../core/ids.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "mirrorfs-cache-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

function block(slice: number, bytes = 1000) {
  const data = new Uint8Array(bytes).fill(slice);
  return { data, at: { slice: slice as SliceId, index: 0, bytes, crc32c: crc32c(data) } };
}

async function files(): Promise<string[]> {
  const names = await readdir(dir, { recursive: true, withFileTypes: true });
  return names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

test("a cached block is found again, also by the next process", async () => {
  const cache = await DiskCache.open(dir, 100_000);
  const { at, data } = block(7);
  await cache.put(at, data);
  expect(await cache.get(at)).toEqual(Buffer.from(data));
  const next = await DiskCache.open(dir, 100_000);
  expect(await next.get(at)).toEqual(Buffer.from(data));
});

test("the least recently used blocks are evicted", async () => {
  const cache = await DiskCache.open(dir, 3000);
  for (const slice of [1, 2, 3]) await cache.put(block(slice).at, block(slice).data);
  await cache.get(block(1).at);
  await cache.put(block(4).at, block(4).data);
  expect(await cache.get(block(2).at)).toBeUndefined();
  expect(await cache.get(block(1).at)).toBeDefined();
  await expect.poll(async () => (await files()).length).toBe(3);
});

test("a block that was damaged on the disk is not served, and is deleted", async () => {
  const cache = await DiskCache.open(dir, 100_000);
  const { at, data } = block(7);
  await cache.put(at, data);
  const [path] = await files();
  const damaged = await readFile(path!);
  damaged[10]! ^= 1;
  await writeFile(path!, damaged);
  expect(await cache.get(at)).toBeUndefined();
  expect(await files()).toEqual([]);
});

test("a file that a crash left half-written is deleted", async () => {
  const cache = await DiskCache.open(dir, 100_000);
  await cache.put(block(7).at, block(7).data);
  const [path] = await files();
  await writeFile(`${path}.1-1.tmp`, "half");
  await DiskCache.open(dir, 100_000);
  expect(await files()).toEqual([path]);
});

test("only the owner may read what is cached, also what an earlier version left there (defect 26)", async () => {
  const { at, data } = block(7);
  const cache = await DiskCache.open(dir, 100_000);
  await cache.put(at, data);
  const [file] = await files();
  const modes = async () => [(await stat(dirname(file!))).mode & 0o777, (await stat(file!)).mode & 0o777];
  expect(await modes()).toEqual([0o700, 0o600]);
  await chmod(dirname(file!), 0o755);
  await DiskCache.open(dir, 100_000);
  expect(await modes()).toEqual([0o700, 0o600]);
});
