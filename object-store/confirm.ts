import { crc32c } from "../base/crc32c.ts";
import { type ObjectStore, ObjectStoreError } from "./object-store.ts";

/**
 * Checks that the object that prevented a create has the same content: a retry, whose first attempt succeeded. Reads the object
 * only if the service states no checksum of it.
 * @throws ObjectStoreError `conflict` for other content; `unavailable` when the object was deleted meanwhile.
 */
export async function confirmExisting(
  store: ObjectStore,
  key: string,
  expected: { bytes: number; crc32c: number; signal?: AbortSignal },
): Promise<"exists"> {
  const { signal } = expected;
  const head = await store.head(key, { signal });
  if (head === undefined) {
    throw new ObjectStoreError("unavailable", `${store.url}: ${key} existed, and was deleted meanwhile`);
  }
  if (head.bytes === expected.bytes) {
    const found = head.crc32c ?? crc32c(await store.read(key, { signal }));
    if (found === expected.crc32c) return "exists";
  }
  throw new ObjectStoreError("conflict", `${store.url}: ${key} exists with other content`);
}
