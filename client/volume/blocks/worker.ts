import { parentPort, workerData } from "node:worker_threads";
import pLimit from "p-limit";
import { crc32c } from "../../../base/crc32c.ts";
import type { RegionIndex } from "../../../core/ids.ts";
import { blockKey } from "../../../object-store/layout.ts";
import { claimBucket } from "../../../object-store/marker.ts";
import { type ObjectStore, ObjectStoreError } from "../../../object-store/object-store.ts";
import { openObjectStore } from "../../../object-store/open.ts";
import { BlockReader } from "./block-reader.ts";
import { DiskCache } from "./disk-cache.ts";
import type {
  BlockUpload,
  ClaimAnswer,
  PlainAnswer,
  Question,
  QuestionMessage,
  UploadAnswer,
  WorkerStart,
} from "./protocol.ts";

/**
 * The thread of the object stores and of the disk cache. Checksums, TLS and large bodies would block the event loop
 * that answers the kernel.
 */
const READS_AT_ONCE = 16;
const UPLOADS_AT_ONCE = 8;
const UPLOAD_ATTEMPT_MS = 30_000;
const PROBE_MS = 10_000;

const start = workerData as WorkerStart;
const port = parentPort!;
const stores: readonly ObjectStore[] = start.buckets.map(({ url }) => openObjectStore(url));
const cache = start.cache && (await DiskCache.open(start.cache.directory, start.cache.bytesMax));
const reader = new BlockReader(
  start.volume,
  start.own,
  stores.map((store, index) => ({
    region: index as RegionIndex,
    store,
    local: start.buckets[index]!.url.startsWith("file:"),
  })),
  cache,
);
const readLimit = pLimit(READS_AT_ONCE);
const uploadLimit = pLimit(UPLOADS_AT_ONCE);

port.on("message", ({ id, question }: QuestionMessage) => {
  void answerTo(question).then((answer) => {
    const data = "data" in answer ? answer.data : undefined;
    if (data === undefined) port.postMessage({ id, answer });
    else if (data.byteLength === data.buffer.byteLength) port.postMessage({ id, answer }, [data.buffer as ArrayBuffer]);
    else port.postMessage({ id, answer: { ...answer, data: new Uint8Array(data) } });
  });
});

function answerTo(question: Question) {
  switch (question.kind) {
    case "read":
      return readLimit(() => reader.read(question.block));
    case "upload":
      return uploadLimit(() => upload(question.block));
    case "claim":
      return claim(question.region, question.uuid);
    case "close":
      return failing(async () => {
        await Promise.all(stores.map((store) => store.close()));
      });
  }
}

async function upload(block: BlockUpload): Promise<UploadAnswer> {
  const body = Buffer.from(block.data.buffer as ArrayBuffer, block.data.byteOffset, block.data.byteLength);
  const checksum = crc32c(body);
  const key = blockKey({ volume: start.volume, slice: block.slice, index: block.index, bytes: body.length });
  const signal = AbortSignal.timeout(UPLOAD_ATTEMPT_MS);
  const { ok, code, message } = await failing(() =>
    storeOf(block.region).create(key, body, { crc32c: checksum, signal }),
  );
  return ok ? { crc32c: checksum } : { code, message };
}

async function claim(region: RegionIndex, uuid: string): Promise<ClaimAnswer> {
  const store = storeOf(region);
  const owner = { volume: start.volume, uuid, region: start.buckets[region]!.region };
  let foreign: string | undefined;
  const answer = await failing(async () => {
    await store.probe({ signal: AbortSignal.timeout(PROBE_MS) });
    foreign = await claimBucket(store, owner, { signal: AbortSignal.timeout(PROBE_MS) });
  });
  return { ...answer, foreign };
}

async function failing(work: () => Promise<unknown>): Promise<PlainAnswer> {
  try {
    await work();
    return { ok: true };
  } catch (error) {
    const code = error instanceof ObjectStoreError ? error.code : "unavailable";
    return { ok: false, code, message: error instanceof Error ? error.message : String(error) };
  }
}

function storeOf(region: RegionIndex): ObjectStore {
  const store = stores[region];
  if (store === undefined) throw new RangeError(`no bucket of region ${region}`);
  return store;
}
