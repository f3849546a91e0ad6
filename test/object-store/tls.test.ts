import { readFileSync } from "node:fs";
import tls from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openObjectStore } from "../../object-store/open.ts";
import type { CloudServer } from "../../sandbox/cloud-server.ts";
import { startGcsServer } from "../../sandbox/gcs/server.ts";
import { startS3Server } from "../../sandbox/s3/server.ts";
import { BUCKETS, block, S3_ACCOUNT, temporaryDirectory, useGoogleKey, useS3Account } from "./harness.ts";

/** Over TLS, as in a cloud: the body is not signed, but its checksum is, in a header. */
const place = temporaryDirectory();
const servers: CloudServer[] = [];
const urls: string[] = [];

beforeAll(async () => {
  const pem = (name: string) => readFileSync(new URL(`../sandbox/tls/${name}`, import.meta.url), "utf8");
  const certificate = { key: pem("localhost.key"), cert: pem("localhost.crt") };
  tls.setDefaultCACertificates([...tls.getCACertificates(), certificate.cert]);
  const listen = { host: "127.0.0.1", tls: certificate, buckets: BUCKETS };
  const s3 = await startS3Server({ ...listen, directory: `${place.dir}/s3`, ...S3_ACCOUNT });
  const gcs = await startGcsServer({ ...listen, directory: `${place.dir}/gcs` });
  servers.push(s3, gcs);
  useS3Account();
  useGoogleKey(place.dir, gcs.credentials);
  urls.push(`s3://${BUCKETS[0]}?endpoint=${s3.endpoint}`, `gs://${BUCKETS[0]}?endpoint=${gcs.endpoint}`);
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  place.remove();
});

test.each([0, 1])("objects over TLS, service %i", async (which) => {
  const store = openObjectStore(urls[which]!);
  const { body, crc } = block(3_000_000);
  expect(await store.create("tls", body, { crc32c: crc })).toBe("created");
  expect(Buffer.compare(await store.read("tls"), body)).toBe(0);
  const id = servers[which]!.faults.add({ fault: { kind: "wrongBytes" }, operation: "create" });
  const changed = store.create("changed", body, { crc32c: crc });
  await expect(changed).rejects.toMatchObject({ code: "corrupt" });
  // Refused by the checksum: if the payload were signed, S3 would report the signature's hash instead.
  await expect(changed).rejects.toThrow(which === 0 ? "BadDigest" : "doesn't match calculated CRC32C");
  expect(servers[which]!.faults.hits(id)).toBe(1);
  await store.close();
});
