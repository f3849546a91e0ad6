import { randomUUID } from "node:crypto";
import { readAll } from "../bodies.ts";
import { type Algorithm, summing } from "../checksums.ts";
import type { Exchange } from "../cloud-server.ts";
import { type Attributes, concatenated, type Upload } from "../object-directory.ts";
import { GcsError } from "./error.ts";
import { type Bucket, conditionNotMet, conditions, originOf, resourceOf, sendJson } from "./objects.ts";
import { parseJson, splitRelated } from "./related.ts";

/** What an upload states before its bytes. */
interface Intent {
  readonly key: string;
  readonly attributes: Omit<Attributes, "checksums">;
  readonly stated: Partial<Record<Algorithm, string>>;
  readonly query: URLSearchParams;
}

interface Session {
  readonly intent: Intent;
  readonly bucket: Bucket;
  /** Chunks received, in order. */
  readonly chunks: Upload[];
  received: number;
  /** Counts the session's requests: of two concurrent ones the later wins. */
  turn: number;
}

const CHUNK_BYTES = 256 << 10;

/**
 * Uploads in one request (media, multipart) and in several (resumable). Resumable sessions are lost when the server
 * stops.
 */
export class Uploads {
  readonly #sessions = new Map<string, Session>();

  async insert(exchange: Exchange, bucket: Bucket): Promise<void> {
    const { request, url } = exchange;
    const query = url.searchParams;
    switch (query.get("uploadType")) {
      case "media": {
        const metadata = { contentType: request.headers["content-type"] };
        return finish(exchange, bucket, intentOf(exchange, metadata), exchange.body());
      }
      case "multipart": {
        const parts = await splitRelated(exchange.body(), request.headers["content-type"] ?? "");
        const intent = intentOf(exchange, { contentType: parts.contentType, ...parts.metadata });
        return finish(exchange, bucket, intent, parts.media);
      }
      case "resumable":
        return this.#begin(exchange, bucket);
      default:
        throw new GcsError(400, "invalid", "uploadType must be media, multipart or resumable");
    }
  }

  /** Handles a chunk of a resumable upload, or a status query ("Resumable uploads"). */
  async resume(exchange: Exchange): Promise<void> {
    const { request, response, url } = exchange;
    const id = url.searchParams.get("upload_id") ?? "";
    const session = this.#sessions.get(id);
    if (session === undefined) throw new GcsError(404, "notFound", "No such resumable upload");
    if (request.method === "DELETE") {
      await this.#drop(id, session);
      response.writeHead(499).end();
      return;
    }
    const range = contentRange(request.headers["content-range"], request.headers["content-length"]);
    if (range.first !== undefined) await take(exchange, session, range);
    // `bytes N-*/*` states no end: the upload ends with the request.
    const isOpenEnded = range.first !== undefined && range.last === undefined && range.total === undefined;
    if (!isOpenEnded && session.received !== range.total) return incomplete(exchange, session);
    try {
      await finish(exchange, session.bucket, session.intent, concatenated(session.chunks));
    } finally {
      await this.#drop(id, session);
    }
  }

  async #begin(exchange: Exchange, bucket: Bucket): Promise<void> {
    const metadata = parseJson((await readAll(exchange.body())).toString());
    const contentType = exchange.request.headers["x-upload-content-type"];
    const intent = intentOf(exchange, { contentType, ...metadata });
    conditions(intent.query).check(bucket.directory.find(intent.key));
    const id = randomUUID();
    this.#sessions.set(id, { intent, bucket, chunks: [], received: 0, turn: 0 });
    const location = `${originOf(exchange)}/upload/storage/v1/b/${bucket.name}/o?uploadType=resumable&upload_id=${id}`;
    exchange.response.writeHead(200, { Location: location, "X-GUploader-UploadID": id }).end();
  }

  async #drop(id: string, session: Session): Promise<void> {
    this.#sessions.delete(id);
    await Promise.all(session.chunks.map((chunk) => session.bucket.directory.discard(chunk)));
  }
}

function intentOf(exchange: Exchange, metadata: Record<string, unknown>): Intent {
  const query = exchange.url.searchParams;
  const name = query.get("name") ?? metadata.name;
  if (typeof name !== "string" || name === "") throw new GcsError(400, "required", "Required parameter: name");
  if (metadata.name !== undefined && metadata.name !== name) {
    throw new GcsError(400, "invalid", "Value in content does not agree with value in query: name");
  }
  if (Buffer.byteLength(name) > 1024) throw new GcsError(400, "invalid", "The name is longer than 1024 bytes");
  const stated = { ...fromHashHeader(exchange.request.headers["x-goog-hash"]) };
  if (metadata.crc32c !== undefined) stated.crc32c = String(metadata.crc32c);
  if (metadata.md5Hash !== undefined) stated.md5 = String(metadata.md5Hash);
  const contentType = String(metadata.contentType ?? "application/octet-stream");
  const custom = (metadata.metadata ?? {}) as Record<string, string>;
  return { key: name, attributes: { contentType, metadata: custom }, stated, query };
}

function fromHashHeader(header: string | string[] | undefined): Partial<Record<Algorithm, string>> {
  const pairs = String(header ?? "").matchAll(/(crc32c|md5)=([^,\s]+)/g);
  return Object.fromEntries([...pairs].map(([, name, value]) => [name, value]));
}

/** Stores the object if its stated checksums are correct and the preconditions still hold. */
async function finish(exchange: Exchange, bucket: Bucket, intent: Intent, media: AsyncIterable<Buffer>): Promise<void> {
  const condition = conditions(intent.query);
  condition.check(bucket.directory.find(intent.key));
  const algorithms: Algorithm[] = intent.stated.md5 === undefined ? ["crc32c"] : ["crc32c", "md5"];
  const { body, sums } = summing(media, algorithms);
  const upload = await bucket.directory.receive(body);
  const checksums = sums() as Record<string, string>;
  for (const [name, value] of Object.entries(intent.stated)) {
    if (checksums[name] === value) continue;
    await bucket.directory.discard(upload);
    const label = name === "md5" ? "MD5 hash" : "CRC32C";
    const message = `Provided ${label} "${value}" doesn't match calculated ${label} "${checksums[name]}".`;
    throw new GcsError(400, "invalid", message);
  }
  const stored = await bucket.directory.commit(
    upload,
    intent.key,
    { ...intent.attributes, checksums },
    condition.allows,
  );
  if (stored === undefined) throw conditionNotMet();
  sendJson(exchange, resourceOf(bucket, stored));
}

/**
 * Parses `bytes FIRST-LAST/TOTAL`; LAST and TOTAL may be open. No first byte: a status query. No header: the whole
 * object.
 */
function contentRange(header: string | undefined, length: string | undefined) {
  if (header === undefined) {
    const total = Number(length ?? Number.NaN);
    if (Number.isNaN(total)) throw new GcsError(411, "required", "Content-Length is required");
    return total === 0 ? { total } : { first: 0, last: total - 1, total };
  }
  const parts = /^bytes (?:\*|(\d+)-(\d+|\*))\/(\d+|\*)$/.exec(header);
  if (parts === null) throw new GcsError(400, "invalid", "Failed to parse Content-Range header.");
  const number = (text: string | undefined) => (text === undefined || text === "*" ? undefined : Number(text));
  return { first: number(parts[1]), last: number(parts[2]), total: number(parts[3]) };
}

async function take(
  exchange: Exchange,
  session: Session,
  range: { first?: number; last?: number; total?: number },
): Promise<void> {
  if (range.first! > session.received) {
    throw new GcsError(
      503,
      "backendError",
      `The chunk begins at ${range.first}, but only ${session.received} bytes have been received`,
    );
  }
  const turn = ++session.turn;
  const chunk = await session.bucket.directory.receive(withoutFirst(exchange.body(), session.received - range.first!));
  if (turn !== session.turn) {
    await session.bucket.directory.discard(chunk);
    throw new GcsError(503, "backendError", "Another request is continuing this upload");
  }
  const end = session.received + chunk.bytes;
  const isWhole = range.last === undefined || end === range.last + 1;
  const isLast = range.total !== undefined && end === range.total;
  if (!isWhole || (!isLast && chunk.bytes % CHUNK_BYTES !== 0 && range.last !== undefined)) {
    await session.bucket.directory.discard(chunk);
    const message = "The chunk is not as long as its Content-Range says, or not a multiple of 256 KiB";
    throw new GcsError(400, "badContent", message);
  }
  session.chunks.push(chunk);
  session.received = end;
}

/** Skips the bytes that an earlier chunk has stored. */
async function* withoutFirst(body: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer> {
  let skip = bytes;
  for await (const piece of body) {
    if (piece.length > skip) yield piece.subarray(skip);
    skip = Math.max(0, skip - piece.length);
  }
}

function incomplete({ response }: Exchange, session: Session): void {
  const range = session.received === 0 ? {} : { Range: `bytes=0-${session.received - 1}` };
  response.writeHead(308, { ...range, "Content-Length": 0 }).end();
}
