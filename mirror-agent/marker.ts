import { crc32c } from "../base/crc32c.ts";
import { UserError } from "../base/user-error.ts";
import { markerKey } from "../object-store/layout.ts";
import { type ObjectStore, ObjectStoreError } from "../object-store/object-store.ts";

/**
 * Checks whose bucket this is, by its marker; makes the marker where there is none.
 * @throws UserError when it belongs to another volume or to another region.
 */
export async function claimBucket(store: ObjectStore, owner: { volume: string; uuid: string; region: string }) {
  const key = markerKey(owner.volume);
  const body = Buffer.from(JSON.stringify({ uuid: owner.uuid, region: owner.region }));
  if ((await store.head(key)) === undefined) {
    try {
      await store.create(key, body, { crc32c: crc32c(body) });
      return;
    } catch (error) {
      // Somebody else's was first: it is checked below.
      if (!(error instanceof ObjectStoreError) || error.code !== "conflict") throw error;
    }
  }
  const found = readMarker(await store.read(key));
  if (found?.uuid === owner.uuid && found.region === owner.region) return;
  const whose = found === undefined ? "something unreadable" : `volume ${found.uuid}, region ${found.region}`;
  throw new UserError(
    `bucket ${store.url} belongs to ${whose}, not to ${owner.volume} (${owner.uuid}), region ${owner.region}: ` +
      "name another bucket, or another volume, in the volume file",
    2,
  );
}

function readMarker(body: Uint8Array): { uuid: string; region: string } | undefined {
  try {
    const { uuid, region } = JSON.parse(Buffer.from(body).toString("utf8"));
    return { uuid: String(uuid), region: String(region) };
  } catch {
    return undefined;
  }
}
