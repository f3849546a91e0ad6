import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { crc32c } from "../../base/crc32c.ts";
import { markerKey } from "../../object-store/layout.ts";
import { claimBucket } from "../../object-store/marker.ts";
import type { ObjectStore } from "../../object-store/object-store.ts";
import { openObjectStore } from "../../object-store/open.ts";

const OWNER = { volume: "vol", uuid: "uuid-1", region: "aws" };
let directory: string;
let store: ObjectStore;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "mirrorfs-marker-"));
  store = openObjectStore(pathToFileURL(directory).href);
});
afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

test("the first process marks the bucket, and it stays that region's", async () => {
  expect(await claimBucket(store, OWNER)).toBeUndefined();
  expect(JSON.parse(Buffer.from(await store.read(markerKey("vol"))).toString())).toEqual({
    uuid: "uuid-1",
    region: "aws",
  });
  expect(await claimBucket(store, OWNER)).toBeUndefined();
});

test("two claims at once agree on one owner", async () => {
  const claims = await Promise.all([claimBucket(store, OWNER), claimBucket(store, { ...OWNER, region: "gcp" })]);
  expect(claims.filter((foreign) => foreign === undefined)).toHaveLength(1);
});

test.each([
  ["another volume", { ...OWNER, uuid: "uuid-2" }, "belongs to another volume (uuid-1, region aws), not to region aws"],
  ["another region", { ...OWNER, region: "gcp" }, "belongs to region aws of this volume, not to region gcp"],
])("of %s: refused, and the marker is left as it was", async (_, claimant, words) => {
  await claimBucket(store, OWNER);
  expect(await claimBucket(store, claimant)).toContain(`bucket ${store.url} ${words}`);
  expect(await claimBucket(store, OWNER)).toBeUndefined();
});

test("a bucket with an unreadable marker is refused", async () => {
  const body = Buffer.from("no JSON");
  await store.create(markerKey("vol"), body, { crc32c: crc32c(body) });
  expect(await claimBucket(store, OWNER)).toContain("belongs to an unknown owner (its marker is unreadable)");
});
