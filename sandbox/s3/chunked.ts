import { S3Error } from "./error.ts";
import { chunkSignature, type Signed } from "./signature.ts";

/** The SDKs send chunks of at most a few MiB. A signed chunk is buffered until its signature is verified. */
const CHUNK_BYTES_MAX = 16 << 20;

/**
 * Decodes `aws-chunked` ("Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks"):
 * `size[;chunk-signature=…]\r\n data \r\n` … `0\r\n`, then trailing headers. Each signature is verified before its bytes
 * are passed on; trailing headers go to `onTrailer`.
 */
export async function* decodeChunked(
  body: AsyncIterable<Buffer>,
  signed: Signed,
  onTrailer: (name: string, value: string) => void,
): AsyncGenerator<Buffer> {
  const signs = signed.payload.startsWith("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
  const hasTrailer = signed.payload.endsWith("-TRAILER");
  const reader = new Reader(body);
  let previous = signed.signature;
  for (;;) {
    const { bytes, signature } = parseChunkHead(await reader.line());
    const data = bytes === 0 ? Buffer.alloc(0) : await reader.take(bytes);
    if (signs) previous = checkSignature(signature, chunkSignature(signed, previous, "PAYLOAD", data));
    if (bytes === 0) break;
    yield data;
    if ((await reader.line()) !== "") throw incomplete("a chunk is not followed by CRLF");
  }
  const trailer: string[] = [];
  for (let line = await reader.line(); line !== ""; line = await reader.line()) trailer.push(line);
  if (trailer.length > 0 && !hasTrailer) throw incomplete("there is a trailer that was not announced");
  const headers = trailer.filter((line) => !line.startsWith("x-amz-trailer-signature:"));
  if (signs && hasTrailer) {
    const given = trailer
      .find((line) => line.startsWith("x-amz-trailer-signature:"))
      ?.split(":")[1]
      ?.trim();
    const text = Buffer.from(headers.map((line) => `${line}\n`).join(""));
    checkSignature(given, chunkSignature(signed, previous, "TRAILER", text));
  }
  for (const line of headers) {
    const colon = line.indexOf(":");
    onTrailer(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
}

function parseChunkHead(line: string): { bytes: number; signature: string | undefined } {
  const parts = /^([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line);
  const bytes = parts === null ? Number.NaN : Number.parseInt(parts[1]!, 16);
  if (!(bytes <= CHUNK_BYTES_MAX)) throw incomplete("a chunk's head is malformed");
  return { bytes, signature: parts?.[2] };
}

function checkSignature(given: string | undefined, expected: string): string {
  if (given !== expected) throw new S3Error(403, "SignatureDoesNotMatch", "A chunk's signature does not match.");
  return expected;
}

function incomplete(why: string): S3Error {
  return new S3Error(400, "IncompleteBody", `The request body is not valid aws-chunked: ${why}`);
}

class Reader {
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Reads up to CRLF, or to the body's end: some SDKs omit the last empty line. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#held.indexOf("\r\n");
      if (end >= 0) {
        const line = this.#held.toString("latin1", 0, end);
        this.#held = this.#held.subarray(end + 2);
        return line;
      }
      if (this.#held.length > 8192) throw incomplete("a line is too long");
      const next = await this.#source.next();
      if (next.done) {
        const rest = this.#held.toString("latin1");
        this.#held = Buffer.alloc(0);
        return rest;
      }
      this.#held = Buffer.concat([this.#held, next.value]);
    }
  }

  async take(bytes: number): Promise<Buffer> {
    const pieces = [this.#held];
    let have = this.#held.length;
    while (have < bytes) {
      const next = await this.#source.next();
      if (next.done) throw incomplete("it ends inside a chunk");
      pieces.push(next.value);
      have += next.value.length;
    }
    const all = pieces.length === 1 ? this.#held : Buffer.concat(pieces, have);
    this.#held = all.subarray(bytes);
    return all.subarray(0, bytes);
  }
}
