import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CloudServer } from "../../sandbox/cloud-server.ts";
import { startS3Server } from "../../sandbox/s3/server.ts";
import { BUCKETS, block, S3_ACCOUNT, temporaryDirectory } from "../object-store/harness.ts";

const Bucket = BUCKETS[0];
const place = temporaryDirectory();
let server: CloudServer;
let client: S3Client;

/** The SDK with its defaults, which signs and computes checksums differently than our object store. */
function clientOf(endpoint: string): S3Client {
  const { region, ...credentials } = S3_ACCOUNT;
  return new S3Client({ endpoint, region, credentials, forcePathStyle: true, maxAttempts: 1 });
}

beforeAll(async () => {
  server = await startS3Server({ directory: place.dir, buckets: BUCKETS, ...S3_ACCOUNT });
  client = clientOf(server.endpoint);
});
afterAll(async () => {
  client.destroy();
  await server.stop();
  place.remove();
});

async function read(Key: string): Promise<Buffer> {
  const answer = await client.send(new GetObjectCommand({ Bucket, Key }));
  return Buffer.from(await answer.Body!.transformToByteArray());
}

describe("the local S3 and the SDK with its defaults", () => {
  test("a body with the SDK's own signature and checksum", async () => {
    const { body } = block(300_000);
    await client.send(new PutObjectCommand({ Bucket, Key: "default", Body: body }));
    expect(Buffer.compare(await read("default"), body)).toBe(0);
  });

  test("a stream: aws-chunked with an unsigned trailer", async () => {
    const { body } = block(900_000);
    const pieces = [body.subarray(0, 100_000), body.subarray(100_000)];
    const put = new PutObjectCommand({
      Bucket,
      Key: "stream",
      Body: Readable.from(pieces),
      ContentLength: body.length,
    });
    await client.send(put);
    expect(Buffer.compare(await read("stream"), body)).toBe(0);
  });

  test("a multipart upload, in parts of any order", async () => {
    const Key = "parts";
    const { body } = block(12 << 20);
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const cuts = [body.subarray(0, 6 << 20), body.subarray(6 << 20, 11 << 20), body.subarray(11 << 20)];
    const parts: { PartNumber: number; ETag: string | undefined }[] = [];
    for (const i of [2, 0, 1]) {
      const upload = new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: i + 1, Body: cuts[i] });
      parts[i] = { PartNumber: i + 1, ETag: (await client.send(upload)).ETag };
    }
    const complete = (Parts: typeof parts) =>
      client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }));
    await expect(complete([parts[1]!, parts[0]!, parts[2]!])).rejects.toMatchObject({ name: "InvalidPartOrder" });
    await expect(complete([parts[0]!, { ...parts[1]!, PartNumber: 3 }])).rejects.toMatchObject({ name: "InvalidPart" });
    await complete(parts);
    expect(Buffer.compare(await read(Key), body)).toBe(0);
    await expect(complete(parts)).rejects.toMatchObject({ name: "NoSuchUpload" });
  });

  test("a part below 5 MiB is rejected unless it is the last; an upload can be aborted", async () => {
    const Key = "small-parts";
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const Parts = [];
    for (const PartNumber of [1, 2]) {
      const upload = new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body: Buffer.alloc(100) });
      Parts.push({ PartNumber, ETag: (await client.send(upload)).ETag });
    }
    const complete = new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } });
    await expect(client.send(complete)).rejects.toMatchObject({ name: "EntityTooSmall" });
    await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }));
    await expect(client.send(complete)).rejects.toMatchObject({ name: "NoSuchUpload" });
  });

  test("a wrong Content-MD5 is rejected", async () => {
    const ContentMD5 = createHash("md5").update("other").digest("base64");
    const put = new PutObjectCommand({ Bucket, Key: "md5", Body: Buffer.from("this"), ContentMD5 });
    await expect(client.send(put)).rejects.toMatchObject({ name: "BadDigest" });
    await expect(read("md5")).rejects.toMatchObject({ name: "NoSuchKey" });
  });

  test("If-Match replaces only the object with that ETag", async () => {
    const put = (Body: string, IfMatch?: string) =>
      client.send(new PutObjectCommand({ Bucket, Key: "match", Body, IfMatch }));
    const { ETag } = await put("one");
    await put("two", ETag);
    await expect(put("three", ETag)).rejects.toMatchObject({ name: "PreconditionFailed" });
    expect((await read("match")).toString()).toBe("two");
  });

  test("a delimiter rolls keys up across pages; DeleteObjects deletes many keys", async () => {
    const keys = ["dir/a/1", "dir/a/2", "dir/b", "dir/c/1", "dir/d"];
    for (const Key of keys) await client.send(new PutObjectCommand({ Bucket, Key, Body: "x" }));
    const found: (string | undefined)[] = [];
    let ContinuationToken: string | undefined;
    do {
      const ask = { Bucket, Prefix: "dir/", Delimiter: "/", MaxKeys: 1, ContinuationToken };
      const page = await client.send(new ListObjectsV2Command(ask));
      expect(page.KeyCount).toBe(1);
      found.push(...(page.Contents ?? []).map((object) => object.Key));
      found.push(...(page.CommonPrefixes ?? []).map((rolled) => rolled.Prefix));
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    expect(found).toEqual(["dir/a/", "dir/b", "dir/c/", "dir/d"]);
    await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }));
    const rest = await client.send(new ListObjectsV2Command({ Bucket, Prefix: "dir/" }));
    expect(rest.Contents ?? []).toEqual([]);
  });

  test("HEAD of a bucket", async () => {
    await client.send(new HeadBucketCommand({ Bucket }));
    await expect(client.send(new HeadBucketCommand({ Bucket: "nobody-has-it" }))).rejects.toMatchObject({
      name: "NotFound",
    });
  });
});

describe("the local S3 and invalid requests", () => {
  test("an unsigned request is denied", async () => {
    const answer = await fetch(`${server.endpoint}/${Bucket}/default`);
    expect(answer.status).toBe(403);
    expect(await answer.text()).toContain("<Code>AccessDenied</Code>");
  });

  test.each([
    ["another body", (headers: Record<string, string>) => headers, "XAmzContentSHA256Mismatch"],
    ["another header", (headers: Record<string, string>) => ({ ...headers, "x-amz-meta-a": "1" }), "AccessDenied"],
    [
      "another time",
      (headers: Record<string, string>) => ({ ...headers, "x-amz-date": "20200101T000000Z" }),
      "AccessDenied",
    ],
  ])("a signature does not carry over to %s", async (_name, change, code) => {
    let captured: Record<string, string> = {};
    const spy = clientOf(server.endpoint);
    spy.middlewareStack.add(
      (next) => (args) => {
        captured = { ...(args.request as { headers: Record<string, string> }).headers };
        return next(args);
      },
      { step: "finalizeRequest", priority: "low" },
    );
    await spy.send(
      new PutObjectCommand({ Bucket, Key: "signed", Body: Buffer.from("right"), ChecksumAlgorithm: undefined }),
    );
    const { host: _host, "content-length": _length, ...headers } = captured;
    for (const name of Object.keys(headers)) if (name.startsWith("x-amz-checksum-")) expect(headers[name]).not.toBe("");
    const url = `${server.endpoint}/${Bucket}/signed?x-id=PutObject`;
    const answer = await fetch(url, { method: "PUT", headers: change(headers), body: "wrong" });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(await answer.text()).toContain(`<Code>${code}</Code>`);
    expect((await read("signed")).toString()).toBe("right");
    spy.destroy();
  });

  test("objects survive a restart", async () => {
    const { body } = block(70_000);
    await client.send(new PutObjectCommand({ Bucket, Key: "kept", Body: body }));
    await server.stop();
    server = await startS3Server({ directory: place.dir, buckets: BUCKETS, ...S3_ACCOUNT });
    client.destroy();
    client = clientOf(server.endpoint);
    expect(Buffer.compare(await read("kept"), body)).toBe(0);
    await expect(read("md5")).rejects.toMatchObject({ name: "NoSuchKey" });
  });
});
