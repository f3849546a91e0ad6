import { createSign } from "node:crypto";
import { Storage } from "@google-cloud/storage";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { crc32cToBase64 } from "../../base/crc32c.ts";
import { type GcsServer, startGcsServer } from "../../sandbox/gcs/server.ts";
import { BUCKETS, block, temporaryDirectory } from "../object-store/harness.ts";

const place = temporaryDirectory();
let server: GcsServer;
let storage: Storage;
let token: string;

beforeAll(async () => {
  server = await startGcsServer({ directory: place.dir, buckets: BUCKETS });
  token = await tokenFrom(server);
  storage = storageOf(server.endpoint);
});
afterAll(async () => {
  await server.stop();
  place.remove();
});

/** The SDK's own authentication, with the token endpoint of the key file. */
async function tokenFrom({ credentials }: GcsServer): Promise<string> {
  const { client_email: iss, token_uri: aud, private_key: privateKey } = credentials;
  const nowS = Math.floor(Date.now() / 1000);
  const scope = "https://www.googleapis.com/auth/devstorage.full_control";
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "RS256", typ: "JWT" })}.${part({ iss, aud, scope, iat: nowS, exp: nowS + 600 })}`;
  const assertion = `${signed}.${createSign("RSA-SHA256").update(signed).sign(privateKey, "base64url")}`;
  const body = new URLSearchParams({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion });
  const answer = await fetch(aud, { method: "POST", body });
  return ((await answer.json()) as { access_token: string }).access_token;
}

/** The SDK with its defaults, except for the tokens. */
function storageOf(apiEndpoint: string): Storage {
  const made = new Storage({
    apiEndpoint,
    projectId: "p",
    useAuthWithCustomEndpoint: true,
    retryOptions: { autoRetry: false },
  });
  made.authClient.getRequestHeaders = async () => ({ Authorization: `Bearer ${token}` });
  made.authClient.authorizeRequest = async (options) => {
    return { ...options, headers: { ...options?.headers, Authorization: `Bearer ${token}` } };
  };
  // The SDK uses this only to begin resumable sessions.
  made.authClient.request = async ({ url, method, headers, params, data }) => {
    const query = new URLSearchParams(params as Record<string, string>);
    const body = data === undefined ? undefined : JSON.stringify(data);
    const init = { method, body, headers: { ...headers, Authorization: `Bearer ${token}` } };
    const answer = await fetch(`${url}?${query}`, init);
    const { status, statusText } = answer;
    const given = { status, statusText, headers: Object.fromEntries(answer.headers), data: await answer.text() };
    return { ...given, config: {}, request: { responseURL: answer.url } } as never;
  };
  return made;
}

/** Against a custom endpoint the SDK sends a token with a resumable upload's first request only with `useAuthWithCustomEndpoint`. */
async function sessionOf(name: string): Promise<{ resumable: true; uri: string }> {
  const [uri] = await file(name).createResumableUpload();
  return { resumable: true, uri };
}

const file = (name: string) => storage.bucket(BUCKETS[0]).file(name);

describe("the local GCS and the SDK with its defaults", () => {
  test.each([0, 1_000, 3_000_000])("a resumable upload of %i bytes", async (bytes) => {
    const { body, crc } = block(bytes);
    await file(`resumable-${bytes}`).save(body, await sessionOf(`resumable-${bytes}`));
    const [got] = await file(`resumable-${bytes}`).download();
    expect(Buffer.compare(got, body)).toBe(0);
    const [metadata] = await file(`resumable-${bytes}`).getMetadata();
    expect(metadata).toMatchObject({ size: String(bytes), crc32c: crc32cToBase64(crc) });
  });

  test("a resumable upload in chunks", async () => {
    const { body } = block(1_500_000);
    await file("chunks").save(body, { ...(await sessionOf("chunks")), chunkSize: 256 << 10 });
    const [got] = await file("chunks").download();
    expect(Buffer.compare(got, body)).toBe(0);
  });

  test("a stream of unknown length", async () => {
    const { body } = block(700_000);
    const stream = file("stream").createWriteStream(await sessionOf("stream"));
    for (let at = 0; at < body.length; at += 100_000) stream.write(body.subarray(at, at + 100_000));
    await new Promise<void>((resolve, reject) => stream.on("error", reject).end(resolve));
    const [got] = await file("stream").download();
    expect(Buffer.compare(got, body)).toBe(0);
  });

  test("a wrong MD5 or CRC-32C is rejected, and nothing is stored", async () => {
    for (const metadata of [{ md5Hash: "XrY7u+Ae7tCTyyK7j1rNww==" }, { crc32c: "AAAAAA==" }]) {
      const saved = file("wrong").save(Buffer.from("these"), { resumable: false, validation: false, metadata });
      await expect(saved).rejects.toMatchObject({ code: 400 });
      expect(await file("wrong").exists()).toEqual([false]);
    }
  });

  test("ifGenerationMatch: 0 creates only, a generation replaces only that one", async () => {
    const save = (text: string, ifGenerationMatch: number | string) =>
      file("generations").save(Buffer.from(text), { resumable: false, preconditionOpts: { ifGenerationMatch } });
    await save("one", 0);
    await expect(save("two", 0)).rejects.toMatchObject({ code: 412 });
    const [{ generation }] = await file("generations").getMetadata();
    await save("two", generation!);
    await expect(save("three", generation!)).rejects.toMatchObject({ code: 412 });
    const [got] = await file("generations").download();
    expect(got.toString()).toBe("two");
    await expect(file("generations").delete({ ifGenerationMatch: generation })).rejects.toMatchObject({ code: 412 });
  });

  test("copies and listings with a delimiter", async () => {
    await file("list/a/1").save(Buffer.from("x"), { resumable: false });
    await file("list/a/1").copy(file("list/b"));
    await file("list/a/1").copy(file("list/c/1"));
    const [files, , answer] = await storage
      .bucket(BUCKETS[0])
      .getFiles({ prefix: "list/", delimiter: "/", autoPaginate: false });
    expect(files.map(({ name }) => name)).toEqual(["list/b"]);
    expect(answer).toMatchObject({ prefixes: ["list/a/", "list/c/"] });
  });

  test("objects and the key survive a restart", async () => {
    await server.stop();
    const before = server.credentials;
    server = await startGcsServer({ directory: place.dir, buckets: BUCKETS });
    expect(server.credentials.private_key).toBe(before.private_key);
    token = await tokenFrom(server);
    storage = storageOf(server.endpoint);
    const [got] = await file("generations").download();
    expect(got.toString()).toBe("two");
  });
});

describe("the local GCS and invalid requests", () => {
  const upload = (query: string, init: RequestInit) =>
    fetch(`${server.endpoint}/upload/storage/v1/b/${BUCKETS[0]}/o?${query}`, {
      method: "POST",
      ...init,
      headers: { Authorization: `Bearer ${token}`, ...(init.headers as Record<string, string>) },
    });

  test("a request without a token, or with an invented one, is rejected", async () => {
    for (const headers of [{}, { Authorization: "Bearer ya29.guessed" }]) {
      const answer = await fetch(`${server.endpoint}/storage/v1/b/${BUCKETS[0]}/o`, { headers });
      expect(answer.status).toBe(401);
    }
  });

  test("an assertion for another endpoint gets no token", async () => {
    const { credentials } = server;
    const elsewhere = { ...server, credentials: { ...credentials, token_uri: `${server.endpoint}/token?x` } };
    expect(await tokenFrom(elsewhere)).toBeUndefined();
  });

  test("a multipart body without its end is rejected", async () => {
    const head = "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\n\r\nbytes";
    const headers = { "Content-Type": "multipart/related; boundary=b" };
    const answer = await upload("uploadType=multipart&name=half", { headers, body: head });
    expect(answer.status).toBe(400);
    expect(await file("half").exists()).toEqual([false]);
  });

  test("the 308 protocol: the client learns that a chunk was lost, resends it, and completes the upload", async () => {
    const { body } = block(600_000);
    const begun = await upload("uploadType=resumable&name=308", { body: "{}" });
    const session = begun.headers.get("location")!;
    const put = (range: string, bytes?: Buffer) =>
      fetch(session, {
        method: "PUT",
        headers: { Authorization: `Bearer ${token}`, "Content-Range": range },
        body: bytes && new Uint8Array(bytes),
      });
    const first = await put("bytes 0-262143/*", body.subarray(0, 262_144));
    expect([first.status, first.headers.get("range")]).toEqual([308, "bytes=0-262143"]);
    const odd = await put("bytes 262144-262243/*", body.subarray(262_144, 262_244));
    expect(odd.status).toBe(400);
    const asked = await put("bytes */600000");
    expect([asked.status, asked.headers.get("range")]).toEqual([308, "bytes=0-262143"]);
    const overlap = await put("bytes 131072-599999/600000", body.subarray(131_072));
    expect(overlap.status).toBe(200);
    const [got] = await file("308").download();
    expect(Buffer.compare(got, body)).toBe(0);
  });
});
