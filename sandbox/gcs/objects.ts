import { TLSSocket } from "node:tls";
import type { Algorithm } from "../checksums.ts";
import type { Exchange } from "../cloud-server.ts";
import type { ObjectDirectory, StoredObject } from "../object-directory.ts";
import { decodePageToken, encodePageToken } from "../page-token.ts";
import { lengthHeaders, parseRange } from "../ranges.ts";
import { GcsError } from "./error.ts";

export interface Bucket {
  readonly name: string;
  readonly directory: ObjectDirectory;
}

/** The address by which the client reached this server: it may be a proxy's. */
export function originOf({ request }: Exchange): string {
  return `${request.socket instanceof TLSSocket ? "https" : "http"}://${request.headers.host}`;
}

export function sendJson({ response }: Exchange, body: object, status = 200): void {
  response.writeHead(status, { "Content-Type": "application/json; charset=UTF-8" }).end(JSON.stringify(body));
}

/** The object resource of the JSON API. */
export function resourceOf(bucket: Bucket, object: StoredObject): Record<string, unknown> {
  const time = new Date(object.modifiedMs).toISOString();
  const { md5, crc32c } = object.checksums;
  return {
    kind: "storage#object",
    id: `${bucket.name}/${object.key}/${object.generation}`,
    name: object.key,
    bucket: bucket.name,
    generation: String(object.generation),
    metageneration: String(object.metageneration),
    contentType: object.contentType,
    storageClass: "STANDARD",
    size: String(object.bytes),
    crc32c,
    ...(md5 === undefined ? {} : { md5Hash: md5 }), // composite objects have none on GCS either
    etag: Buffer.from(String(object.generation)).toString("base64"),
    timeCreated: time,
    updated: time,
    ...(Object.keys(object.metadata).length === 0 ? {} : { metadata: object.metadata }),
  };
}

function findObject(bucket: Bucket, key: string, query: URLSearchParams): StoredObject {
  const object = bucket.directory.find(key);
  const generation = query.get("generation");
  if (object === undefined || (generation !== null && generation !== String(object.generation))) {
    throw new GcsError(404, "notFound", `No such object: ${bucket.name}/${key}`);
  }
  return object;
}

/**
 * The preconditions `ifGenerationMatch` and so on; with the prefix "Source" `ifSourceGenerationMatch` and so on.
 * Generation 0 means that there is no such object.
 */
export function conditions(query: URLSearchParams, prefix: "" | "Source" = "") {
  const value = (name: string) => query.get(`if${prefix}${name}`);
  const generation = value("GenerationMatch");
  const notGeneration = value("GenerationNotMatch");
  const metageneration = value("MetagenerationMatch");
  const notMetageneration = value("MetagenerationNotMatch");
  const allows = (current: StoredObject | undefined) => {
    const present = String(current?.generation ?? 0);
    if (generation !== null && generation !== present) return false;
    if (notGeneration !== null && notGeneration === present) return false;
    if (metageneration !== null && metageneration !== String(current?.metageneration)) return false;
    return notMetageneration === null || notMetageneration !== String(current?.metageneration);
  };
  const check = (current: StoredObject | undefined) => {
    if (!allows(current)) throw conditionNotMet();
  };
  return { allows, check };
}

export function conditionNotMet(): GcsError {
  return new GcsError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.");
}

/** `objects.get`: the resource, or with `alt=media` the bytes. */
export async function getObject(exchange: Exchange, bucket: Bucket, key: string): Promise<void> {
  const { request, response, url } = exchange;
  const object = findObject(bucket, key, url.searchParams);
  const condition = conditions(url.searchParams);
  if (!condition.allows(object)) {
    if (url.searchParams.has("ifGenerationNotMatch")) throw new GcsError(304, "notModified", "Not Modified");
    throw conditionNotMet();
  }
  const isMedia = url.searchParams.get("alt") === "media" || url.pathname.startsWith("/download/");
  if (!isMedia) return sendJson(exchange, resourceOf(bucket, object));
  const range = parseRange(request.headers.range, object.bytes);
  if (range === "unsatisfiable") {
    const message = `The requested range (${request.headers.range}) is not satisfiable`;
    throw new GcsError(416, "requestedRangeNotSatisfiable", message);
  }
  response.writeHead(range === undefined ? 200 : 206, {
    "Content-Type": object.contentType,
    ...lengthHeaders(range, object.bytes),
    "x-goog-hash": Object.entries(object.checksums)
      .map(([name, sum]) => `${name}=${sum}`)
      .join(","),
    "x-goog-generation": String(object.generation),
    "x-goog-metageneration": String(object.metageneration),
    "x-goog-stored-content-encoding": "identity",
    "x-goog-stored-content-length": String(object.bytes),
  });
  await exchange.send(bucket.directory.read(object, range));
}

export async function deleteObject(exchange: Exchange, bucket: Bucket, key: string): Promise<void> {
  const query = exchange.url.searchParams;
  conditions(query).check(findObject(bucket, key, query));
  await bucket.directory.remove(key);
  exchange.response.writeHead(204).end();
}

/** `objects.list` */
export function listObjects(exchange: Exchange, bucket: Bucket): void {
  const query = exchange.url.searchParams;
  const limit = Math.min(1000, Number(query.get("maxResults") ?? 1000));
  if (!Number.isInteger(limit) || limit < 1) throw new GcsError(400, "invalid", "Invalid maxResults");
  const token = query.get("pageToken");
  const after = token === null ? undefined : decodePageToken(token);
  if (token !== null && after === undefined) throw new GcsError(400, "invalid", "Invalid argument: pageToken");
  const { objects, prefixes, last } = bucket.directory.list({
    prefix: query.get("prefix") ?? "",
    from: query.get("startOffset") ?? undefined,
    after,
    delimiter: query.get("delimiter") ?? undefined,
    limit,
  });
  sendJson(exchange, {
    kind: "storage#objects",
    ...(last === undefined ? {} : { nextPageToken: encodePageToken(last) }),
    ...(objects.length === 0 ? {} : { items: objects.map((object) => resourceOf(bucket, object)) }),
    ...(prefixes.length === 0 ? {} : { prefixes }),
  });
}

/** `rewriteTo` (in one step here) and `copyTo`. */
export async function copyObject(
  exchange: Exchange,
  from: { bucket: Bucket; key: string },
  to: { bucket: Bucket; key: string },
  verb: "rewriteTo" | "copyTo",
): Promise<void> {
  const query = exchange.url.searchParams;
  const source = from.bucket.directory.find(from.key);
  if (source === undefined) throw new GcsError(404, "notFound", `No such object: ${from.bucket.name}/${from.key}`);
  conditions(query, "Source").check(source);
  const condition = conditions(query);
  condition.check(to.bucket.directory.find(to.key));
  const algorithms = Object.keys(source.checksums) as Algorithm[];
  const origin = { directory: from.bucket.directory, object: source };
  const stored = await to.bucket.directory.copy(origin, to.key, algorithms, condition.allows);
  if (stored === undefined) throw conditionNotMet();
  const resource = resourceOf(to.bucket, stored);
  if (verb === "copyTo") return sendJson(exchange, resource);
  const size = String(stored.bytes);
  const kind = "storage#rewriteResponse";
  sendJson(exchange, { kind, done: true, objectSize: size, totalBytesRewritten: size, resource });
}
