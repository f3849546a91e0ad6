import type { IncomingHttpHeaders } from "node:http";
import { type Algorithm, isAlgorithm } from "../checksums.ts";
import type { Exchange } from "../cloud-server.ts";
import type { Attributes, ObjectDirectory, StoredObject } from "../object-directory.ts";
import { lengthHeaders, parseRange } from "../ranges.ts";
import { S3Error, xml } from "./error.ts";
import { receivePayload } from "./payload.ts";
import type { Signed } from "./signature.ts";

/** A request that names an object. */
export interface ObjectRequest {
  readonly exchange: Exchange;
  readonly signed: Signed;
  readonly directory: ObjectDirectory;
  readonly key: string;
}

const quoted = (etag: string) => `"${etag}"`;

export async function putObject({ exchange, signed, directory, key }: ObjectRequest): Promise<void> {
  const { headers } = exchange.request;
  if (Buffer.byteLength(key) > 1024) throw new S3Error(400, "KeyTooLongError", "Your key is too long");
  const condition = writeCondition(headers);
  condition.check(directory.find(key));
  const { upload, checksums } = await receivePayload(exchange, signed, directory);
  const stored = await directory.commit(upload, key, { ...attributesOf(headers), checksums }, condition.allows);
  if (stored === undefined) throw preconditionFailed("If-None-Match");
  exchange.response.writeHead(200, { ETag: quoted(stored.etag), ...checksumHeaders(stored.checksums) }).end();
}

export async function getObject({ exchange, directory, key }: ObjectRequest): Promise<void> {
  const { request, response } = exchange;
  const object = found(directory, key);
  checkReadConditions(request.headers, object);
  const range = parseRange(request.headers.range, object.bytes);
  if (range === "unsatisfiable") {
    const details = { RangeRequested: request.headers.range!, ActualObjectSize: String(object.bytes) };
    throw new S3Error(416, "InvalidRange", "The requested range is not satisfiable", details);
  }
  response.writeHead(range === undefined ? 200 : 206, {
    ...objectHeaders(object, request.headers, range === undefined),
    ...lengthHeaders(range, object.bytes),
  });
  if (request.method === "HEAD") response.end();
  else await exchange.send(directory.read(object, range));
}

export async function deleteObject({ exchange, directory, key }: ObjectRequest): Promise<void> {
  await directory.remove(key);
  exchange.response.writeHead(204).end();
}

export async function copyObject(
  { exchange, directory, key }: ObjectRequest,
  buckets: ReadonlyMap<string, ObjectDirectory>,
): Promise<void> {
  const { headers } = exchange.request;
  const source = copySource(String(headers["x-amz-copy-source"]), buckets);
  const ifMatch = headers["x-amz-copy-source-if-match"];
  if (ifMatch !== undefined && unquoted(String(ifMatch)) !== source.object.etag) {
    throw preconditionFailed("x-amz-copy-source-If-Match");
  }
  const condition = writeCondition(headers);
  condition.check(directory.find(key));
  const asked = String(headers["x-amz-checksum-algorithm"] ?? "").toLowerCase();
  const algorithms: Algorithm[] = isAlgorithm(asked)
    ? [asked]
    : Object.keys(source.object.checksums).filter(isAlgorithm);
  const stored = await directory.copy(source, key, algorithms, condition.allows);
  if (stored === undefined) throw preconditionFailed("If-None-Match");
  const sumElements = Object.entries(stored.checksums).map(([name, value]) => [`Checksum${name.toUpperCase()}`, value]);
  const result = { LastModified: new Date(stored.modifiedMs).toISOString(), ETag: quoted(stored.etag) };
  const text = xml("CopyObjectResult", { ...result, ...Object.fromEntries(sumElements) });
  exchange.response.writeHead(200, { "Content-Type": "application/xml" }).end(text);
}

/**
 * `If-None-Match: *` and `If-Match` of a write: `check` before the body is received, `allows` when the object is
 * created.
 */
export function writeCondition(headers: IncomingHttpHeaders) {
  const noneMatch = headers["if-none-match"];
  const match = headers["if-match"];
  if (noneMatch !== undefined && noneMatch !== "*") {
    throw new S3Error(501, "NotImplemented", "If-None-Match of a write must be *");
  }
  const allows = (current: StoredObject | undefined) => {
    if (noneMatch !== undefined && current !== undefined) return false;
    return match === undefined || (current !== undefined && unquoted(match) === current.etag);
  };
  const check = (current: StoredObject | undefined) => {
    if (match !== undefined && current === undefined) throw noSuchKey("");
    if (!allows(current)) throw preconditionFailed(match === undefined ? "If-None-Match" : "If-Match");
  };
  return { allows, check };
}

export function attributesOf(headers: IncomingHttpHeaders): Omit<Attributes, "checksums"> {
  const metadata = Object.entries(headers)
    .filter(([name]) => name.startsWith("x-amz-meta-"))
    .map(([name, value]) => [name, String(value)]);
  return {
    contentType: headers["content-type"] ?? "binary/octet-stream",
    metadata: Object.fromEntries(metadata),
  };
}

export function preconditionFailed(condition: string): S3Error {
  const message = "At least one of the pre-conditions you specified did not hold";
  return new S3Error(412, "PreconditionFailed", message, { Condition: condition });
}

function noSuchKey(key: string): S3Error {
  return new S3Error(404, "NoSuchKey", "The specified key does not exist.", { Key: key });
}

function found(directory: ObjectDirectory, key: string): StoredObject {
  const object = directory.find(key);
  if (object === undefined) throw noSuchKey(key);
  return object;
}

function checkReadConditions(headers: IncomingHttpHeaders, object: StoredObject): void {
  const match = headers["if-match"];
  if (match !== undefined && match !== "*" && unquoted(match) !== object.etag) throw preconditionFailed("If-Match");
  const noneMatch = headers["if-none-match"];
  if (noneMatch === "*" || (noneMatch !== undefined && unquoted(noneMatch) === object.etag)) {
    throw new S3Error(304, "NotModified", "Not Modified");
  }
}

function objectHeaders(object: StoredObject, headers: IncomingHttpHeaders, whole: boolean) {
  return {
    "Content-Type": object.contentType,
    "Last-Modified": new Date(object.modifiedMs).toUTCString(),
    ETag: quoted(object.etag),
    "Accept-Ranges": "bytes",
    ...object.metadata,
    ...(whole && headers["x-amz-checksum-mode"] === "ENABLED" ? checksumHeaders(object.checksums) : {}),
  };
}

function checksumHeaders(checksums: Readonly<Record<string, string>>): Record<string, string> {
  const headers = Object.entries(checksums).map(([name, value]) => [`x-amz-checksum-${name}`, value]);
  return Object.fromEntries(headers);
}

function copySource(header: string, buckets: ReadonlyMap<string, ObjectDirectory>) {
  const [bucket, ...rest] = decodeURIComponent(header).replace(/^\//, "").split("/");
  const directory = buckets.get(bucket!);
  if (directory === undefined) throw new S3Error(404, "NoSuchBucket", "The specified bucket does not exist");
  return { directory, object: found(directory, rest.join("/")) };
}

function unquoted(etag: string): string {
  return etag.replace(/^"|"$/g, "");
}
