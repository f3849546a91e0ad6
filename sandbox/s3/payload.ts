import { TLSSocket } from "node:tls";
import { readAll } from "../bodies.ts";
import { type Algorithm, isAlgorithm, summing } from "../checksums.ts";
import type { Exchange } from "../cloud-server.ts";
import type { ObjectDirectory, Upload } from "../object-directory.ts";
import { decodeChunked } from "./chunked.ts";
import { S3Error } from "./error.ts";
import type { Signed } from "./signature.ts";

const CHECKSUM_PREFIX = "x-amz-checksum-";
/** Headers with the prefix that carry no checksum. */
const NO_CHECKSUM = new Set(["x-amz-checksum-mode", "x-amz-checksum-algorithm", "x-amz-checksum-type"]);

export interface Received {
  readonly upload: Upload;
  /** Verified; keyed by algorithm, in base64. */
  readonly checksums: Readonly<Record<string, string>>;
}

/**
 * Receives an upload and verifies everything that its headers and trailer state: length, SHA-256, Content-MD5, checksums.
 * @throws S3Error; the upload is discarded then.
 */
export async function receivePayload(
  exchange: Exchange,
  signed: Signed,
  directory: ObjectDirectory,
): Promise<Received> {
  const { headers } = exchange.request;
  const stated = statedChecksums(headers);
  const trailers = new Map<string, string>();
  const chunked = signed.payload.startsWith("STREAMING-");
  const algorithms = [...stated.keys(), ...announced(headers["x-amz-trailer"])];
  if (headers["content-md5"] !== undefined) algorithms.push("md5");
  if (!chunked) {
    checkPayloadHash(signed.payload, exchange);
    if (signed.payload !== "UNSIGNED-PAYLOAD") algorithms.push("sha256");
  }
  const source = chunked
    ? decodeChunked(exchange.body(), signed, (name, value) => trailers.set(name, value))
    : exchange.body();
  const { body, sums } = summing(source, algorithms);
  const upload = await directory.receive(body);
  try {
    checkLength(upload.bytes, chunked ? headers["x-amz-decoded-content-length"] : headers["content-length"]);
    const found = sums();
    if (signed.payload.length === 64 && Buffer.from(found.sha256!, "base64").toString("hex") !== signed.payload) {
      throw new S3Error(
        400,
        "XAmzContentSHA256Mismatch",
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
      );
    }
    if (headers["content-md5"] !== undefined && headers["content-md5"] !== found.md5) {
      throw new S3Error(400, "BadDigest", "The Content-MD5 you specified did not match what we received.");
    }
    const checksums = {
      ...Object.fromEntries(stated),
      ...Object.fromEntries(statedChecksums(Object.fromEntries(trailers))),
    };
    for (const algorithm of announced(headers["x-amz-trailer"])) {
      if (checksums[algorithm] === undefined)
        throw new S3Error(400, "MalformedTrailerError", "The announced trailer is missing.");
    }
    for (const [algorithm, value] of Object.entries(checksums)) {
      if (found[algorithm as Algorithm] === value) continue;
      const message = `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum.`;
      throw new S3Error(400, "BadDigest", message);
    }
    return { upload, checksums };
  } catch (error) {
    await directory.discard(upload);
    throw error;
  }
}

/** A whole body that is small: the XML of a request. */
export async function receiveText(exchange: Exchange, signed: Signed): Promise<string> {
  const { headers } = exchange.request;
  checkPayloadHash(signed.payload, exchange);
  const stated = statedChecksums(headers);
  const { body, sums } = summing(exchange.body(), ["sha256", "md5", ...stated.keys()]);
  const bytes = await readAll(body);
  const found = sums();
  const hash = Buffer.from(found.sha256!, "base64").toString("hex");
  if (signed.payload.length === 64 && hash !== signed.payload) {
    throw new S3Error(
      400,
      "XAmzContentSHA256Mismatch",
      "The provided 'x-amz-content-sha256' header does not match what was computed.",
    );
  }
  const wrong = [...stated].some(([algorithm, value]) => found[algorithm] !== value);
  if (wrong || (headers["content-md5"] ?? found.md5) !== found.md5) {
    throw new S3Error(400, "BadDigest", "A checksum you specified did not match what we received.");
  }
  return bytes.toString();
}

function statedChecksums(headers: Record<string, string | string[] | undefined>): Map<Algorithm, string> {
  const stated = new Map<Algorithm, string>();
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(CHECKSUM_PREFIX) || NO_CHECKSUM.has(name)) continue;
    stated.set(algorithmOf(name), String(value));
  }
  if (stated.size > 1) throw new S3Error(400, "InvalidRequest", "Expecting a single x-amz-checksum- header.");
  return stated;
}

function announced(trailer: string | string[] | undefined): Algorithm[] {
  return trailer === undefined ? [] : [algorithmOf(String(trailer).trim().toLowerCase())];
}

function algorithmOf(header: string): Algorithm {
  const name = header.slice(CHECKSUM_PREFIX.length);
  if (!isAlgorithm(name))
    throw new S3Error(501, "NotImplemented", `The checksum algorithm ${name} is not implemented here.`);
  return name;
}

/** S3 requires a signed payload without TLS. */
function checkPayloadHash(payload: string, { request }: Exchange): void {
  if (/^[0-9a-f]{64}$/.test(payload)) return;
  if (payload === "UNSIGNED-PAYLOAD" && request.socket instanceof TLSSocket) return;
  const message = "x-amz-content-sha256 must be the payload's SHA-256 on a connection without TLS";
  throw new S3Error(400, "InvalidRequest", message);
}

function checkLength(bytes: number, stated: string | string[] | undefined): void {
  if (stated === undefined)
    throw new S3Error(411, "MissingContentLength", "You must provide the Content-Length HTTP header.");
  if (bytes !== Number(stated)) {
    throw new S3Error(
      400,
      "IncompleteBody",
      "You did not provide the number of bytes specified by the Content-Length header.",
    );
  }
}
