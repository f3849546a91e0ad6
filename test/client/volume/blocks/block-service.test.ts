import { mkdtempSync } from "node:fs";
import { readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { crc32c } from "../../../../base/crc32c.ts";
import { takeBuffer } from "../../../../client/volume/blocks/block-buffers.ts";
import { type BlockService, openBlockService } from "../../../../client/volume/blocks/block-service.ts";
import { BLOCK_BYTES, type RegionIndex, type SliceId } from "../../../../core/ids.ts";
import type { CloudServer } from "../../../../sandbox/cloud-server.ts";
import { startGcsServer } from "../../../../sandbox/gcs/server.ts";
import { startS3Server } from "../../../../sandbox/s3/server.ts";

const AWS = 0 as RegionIndex;
const GCP = 1 as RegionIndex;
let dir: string;
let servers: CloudServer[];
let blocks: BlockService;
const before = { ...process.env };

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "mirrorfs-blocks-"));
  const account = { accessKeyId: "AKIATEST", secretAccessKey: "secret", region: "us-east-1" };
  const s3 = await startS3Server({ ...account, directory: join(dir, "s3"), buckets: ["train-us"] });
  const gcs = await startGcsServer({ directory: join(dir, "gcs"), buckets: ["train-eu"] });
  servers = [s3, gcs];
  await writeFile(join(dir, "key.json"), JSON.stringify(gcs.credentials));
  Object.assign(process.env, {
    AWS_ACCESS_KEY_ID: account.accessKeyId,
    AWS_SECRET_ACCESS_KEY: account.secretAccessKey,
    GOOGLE_APPLICATION_CREDENTIALS: join(dir, "key.json"),
  });
  blocks = await openBlockService(
    {
      volume: "v",
      buckets: [
        { region: "aws", url: `s3://train-us?region=us-east-1&endpoint=${encodeURIComponent(s3.endpoint)}` },
        { region: "gcp", url: `gs://train-eu?endpoint=${encodeURIComponent(gcs.endpoint)}` },
      ],
      own: AWS,
      cache: { directory: join(dir, "cache"), bytesMax: 64 * BLOCK_BYTES },
    },
    (error) => {
      throw error;
    },
  );
});

afterAll(async () => {
  await blocks.close();
  for (const server of servers) await server.stop();
  process.env = before;
  await rm(dir, { recursive: true, force: true });
});

/** A block in shared memory, as the file system uploads it. */
function shared(bytes: number, seed: number): Uint8Array {
  const buffer = takeBuffer(bytes).subarray(0, bytes);
  for (let at = 0; at < bytes; at++) buffer[at] = (at * seed) & 255;
  return buffer;
}

function request(slice: number, data: Uint8Array, home = AWS) {
  return { slice: slice as SliceId, index: 0, bytes: data.length, crc32c: crc32c(data), home, timeoutMs: 5000 };
}

test.each([
  ["S3", AWS],
  ["GCS", GCP],
] as const)("a block goes from shared memory to %s and comes back", async (_, region) => {
  for (const [slice, bytes] of [
    [10 + region, BLOCK_BYTES],
    [20 + region, 300_001],
    [30 + region, 5000],
  ] as const) {
    const data = shared(bytes, slice);
    expect(await blocks.upload({ region, slice: slice as SliceId, index: 0, data })).toEqual({ crc32c: crc32c(data) });
    const read = await blocks.read(request(slice, data, region));
    expect(read).toMatchObject({ from: region, missingInOwn: region !== AWS });
    expect(Buffer.compare(read.data!, data)).toBe(0);
  }
});

test("a repeated upload succeeds; other content under the same key is refused", async () => {
  const data = shared(6000, 3);
  const upload = { region: AWS, slice: 40 as SliceId, index: 0, data };
  await blocks.upload(upload);
  expect(await blocks.upload(upload)).toEqual({ crc32c: crc32c(data) });
  expect(await blocks.upload({ ...upload, data: shared(6000, 5) })).toMatchObject({ code: "conflict" });
});

test("a block that was read once is then read from the disk cache, also without buckets", async () => {
  const data = shared(BLOCK_BYTES, 7);
  await blocks.upload({ region: AWS, slice: 50 as SliceId, index: 0, data });
  await blocks.read(request(50, data));
  const cached = async () =>
    (await readdir(join(dir, "cache"), { recursive: true })).filter((name) => /\b50-[^.]*$/.test(name));
  await expect.poll(cached, { timeout: 20_000 }).toHaveLength(1);
  expect(await blocks.read(request(50, data))).toMatchObject({ from: "disk" });
});

test("a bucket that was claimed is refused to another volume", async () => {
  expect(await blocks.claim(AWS, "uuid-1")).toEqual({ ok: true });
  expect(await blocks.claim(AWS, "uuid-1")).toEqual({ ok: true });
  const { ok, foreign } = await blocks.claim(AWS, "uuid-2");
  expect({ ok, foreign }).toEqual({ ok: true, foreign: expect.stringContaining("belongs to another volume (uuid-1") });
});

test("a block that no bucket has is missing, not empty", async () => {
  expect(await blocks.read(request(60, shared(100, 1)))).toMatchObject({ failure: "missing", missingInOwn: true });
});
