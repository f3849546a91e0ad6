import { crc32c } from "../base/crc32c.ts";
import { type ObjectStore, ObjectStoreError } from "./object-store.ts";

/**
 * What is there under a key that could not be created: the same content (a retry whose first try went through), or
 * another. An object without a stated checksum is read.
 */
export async function confirmExisting(
  store: ObjectStore,
  key: string,
  wanted: { bytes: number; crc32c: number; signal?: AbortSignal },
): Promise<"exists"> {
  const { signal } = wanted;
  const head = await store.head(key, { signal });
  if (head === undefined) {
    throw new ObjectStoreError("unavailable", `${store.url}: ${key} was there and is gone: deleted meanwhile`);
  }
  if (head.bytes === wanted.bytes) {
    const found = head.crc32c ?? crc32c(await store.read(key, { signal }));
    if (found === wanted.crc32c) return "exists";
  }
  throw new ObjectStoreError("conflict", `${store.url}: ${key} is there with another content`);
}
