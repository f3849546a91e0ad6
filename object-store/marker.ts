/**
 * A bucket's marker records its owner: the object `VOLUME/mirrorfs.json`, JSON `{uuid, region}`. The first process that uses the
 * bucket creates it, and it never changes. Without it, a wrong line in a volume file could make one bucket serve two volumes, or
 * two regions of one.
 */
import { crc32c } from "../base/crc32c.ts";
import { markerKey } from "./layout.ts";
import { type ObjectStore, ObjectStoreError } from "./object-store.ts";

export interface BucketOwner {
  /** The volume's name, the first part of the marker's key. */
  readonly volume: string;
  readonly uuid: string;
  readonly region: string;
}

/**
 * Checks that a bucket belongs to a region of a volume; creates the marker if there is none.
 * @returns undefined when it does, else one line for the user: the owner, and the remedy.
 * @throws ObjectStoreError when the bucket cannot be read or written.
 */
export async function claimBucket(
  store: ObjectStore,
  owner: BucketOwner,
  options: { signal?: AbortSignal } = {},
): Promise<string | undefined> {
  const key = markerKey(owner.volume);
  const body = Buffer.from(JSON.stringify({ uuid: owner.uuid, region: owner.region }));
  if (!(await hasMarker(store, owner.volume, options))) {
    try {
      await store.create(key, body, { crc32c: crc32c(body), ...options });
      return undefined;
    } catch (error) {
      // Another process was first: its marker is checked below.
      if (!(error instanceof ObjectStoreError) || error.code !== "conflict") throw error;
    }
  }
  const found = decode(await store.read(key, options));
  if (found?.uuid === owner.uuid && found.region === owner.region) return undefined;
  return (
    `bucket ${store.url} belongs to ${ownerText(found, owner)}, not to region ${owner.region} of volume ${owner.volume}` +
    ` (${owner.uuid}): use another bucket, or another volume, in the volume file`
  );
}

/**
 * Whether a volume of this name uses the bucket, or has used it.
 * @throws ObjectStoreError when the bucket cannot be read.
 */
export async function hasMarker(
  store: ObjectStore,
  volume: string,
  options: { signal?: AbortSignal } = {},
): Promise<boolean> {
  return (await store.head(markerKey(volume), options)) !== undefined;
}

function ownerText(found: Marker | undefined, { uuid }: BucketOwner): string {
  if (found === undefined) return "an unknown owner (its marker is unreadable)";
  return found.uuid === uuid
    ? `region ${found.region} of this volume`
    : `another volume (${found.uuid}, region ${found.region})`;
}

interface Marker {
  readonly uuid: string;
  readonly region: string;
}

function decode(body: Uint8Array): Marker | undefined {
  try {
    const { uuid, region } = JSON.parse(Buffer.from(body).toString("utf8"));
    return { uuid: String(uuid), region: String(region) };
  } catch {
    return undefined;
  }
}
