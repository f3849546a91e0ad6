import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openObjectStore } from "../../object-store/open.ts";
import { type GcsServer, startGcsServer } from "../../sandbox/gcs/server.ts";
import { conformance } from "./conformance.ts";
import { survivesFaults } from "./faults.ts";
import { BUCKETS, block, gcsHarness, temporaryDirectory, useGoogleKey } from "./harness.ts";

conformance("gs", gcsHarness);
survivesFaults("gs", gcsHarness);

describe("gs and its credentials", () => {
  const [place, other] = [temporaryDirectory(), temporaryDirectory()];
  let server: GcsServer;
  beforeAll(async () => {
    server = await startGcsServer({ directory: place.dir, buckets: BUCKETS, tokenLifeSeconds: 1 });
  });
  afterAll(async () => {
    await server.stop();
    place.remove();
    other.remove();
  });
  const open = () => openObjectStore(`gs://${BUCKETS[0]}?endpoint=${server.endpoint}`);

  test("a key that the service does not know is denied, in one line that names the bucket", async () => {
    const stranger = await startGcsServer({ directory: other.dir, buckets: [] });
    await stranger.stop();
    useGoogleKey(other.dir, { ...stranger.credentials, token_uri: server.credentials.token_uri });
    const store = open();
    const probe = store.probe();
    await expect(probe).rejects.toMatchObject({ code: "denied" });
    await expect(probe).rejects.toThrow(`bucket ${store.url} refuses the credentials`);
    await store.close();
  });

  test("a missing key file is denied, in one line that names the bucket", async () => {
    process.env.GOOGLE_APPLICATION_CREDENTIALS = `${other.dir}/nothing.json`;
    const store = open();
    const probe = store.probe();
    await expect(probe).rejects.toMatchObject({ code: "denied" });
    await expect(probe).rejects.toThrow(`bucket ${store.url} refuses the credentials`);
    await store.close();
  });

  test("a request to a token endpoint that hangs times out, and is retried", async () => {
    useGoogleKey(other.dir, server.credentials);
    const id = server.faults.add({ fault: { kind: "hang" }, operation: "other", count: 1 });
    const store = openObjectStore(`gs://${BUCKETS[0]}?endpoint=${server.endpoint}`, { idleTimeoutMs: 200 });
    await store.probe();
    expect(server.faults.hits(id)).toBe(1);
    await store.close();
  });

  test("a token that the service has forgotten is replaced without an error", async () => {
    const forgetful = await startGcsServer({ directory: place.dir, buckets: BUCKETS });
    useGoogleKey(other.dir, forgetful.credentials);
    const store = openObjectStore(`gs://${BUCKETS[0]}?endpoint=${forgetful.endpoint}`);
    await store.probe();
    await forgetful.stop();
    const port = Number(new URL(forgetful.endpoint).port);
    const restarted = await startGcsServer({ directory: place.dir, buckets: BUCKETS, port });
    const { body, crc } = block(10);
    expect(await store.create("remembered", body, { crc32c: crc })).toBe("created");
    await store.close();
    await restarted.stop();
  });

  test("an expired token is replaced without an error", async () => {
    useGoogleKey(other.dir, server.credentials);
    const store = open();
    const { body, crc } = block(10);
    await store.create("before", body, { crc32c: crc });
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect(await store.create("after", body, { crc32c: crc })).toBe("created");
    await store.close();
  });
});
