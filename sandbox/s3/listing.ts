import { XMLParser } from "fast-xml-parser";
import type { Exchange } from "../cloud-server.ts";
import type { ObjectDirectory } from "../object-directory.ts";
import { decodePageToken, encodePageToken } from "../page-token.ts";
import { S3Error, xml } from "./error.ts";

/** ListObjectsV2. */
export function listObjects(exchange: Exchange, directory: ObjectDirectory, bucket: string): void {
  const query = exchange.url.searchParams;
  if (query.get("list-type") !== "2")
    throw new S3Error(501, "NotImplemented", "Only ListObjectsV2 is implemented here.");
  const limit = Math.min(1000, Number(query.get("max-keys") ?? 1000));
  if (!Number.isInteger(limit) || limit < 0) throw new S3Error(400, "InvalidArgument", "max-keys is not a count");
  const prefix = query.get("prefix") ?? "";
  const delimiter = query.get("delimiter") ?? undefined;
  const token = query.get("continuation-token");
  const after = token === null ? (query.get("start-after") ?? undefined) : keyOfToken(token);
  const encode = query.get("encoding-type") === "url" ? encodeURIComponent : (text: string) => text;
  const { objects, prefixes, last } = directory.list({ prefix, after, delimiter, limit });
  const text = xml("ListBucketResult", {
    Name: bucket,
    Prefix: encode(prefix),
    KeyCount: objects.length + prefixes.length,
    MaxKeys: limit,
    IsTruncated: last !== undefined,
    ...(delimiter === undefined ? {} : { Delimiter: encode(delimiter) }),
    ...(token === null ? {} : { ContinuationToken: token }),
    ...(last === undefined ? {} : { NextContinuationToken: encodePageToken(last) }),
    Contents: objects.map((object) => ({
      Key: encode(object.key),
      LastModified: new Date(object.modifiedMs).toISOString(),
      ETag: `"${object.etag}"`,
      Size: object.bytes,
      StorageClass: "STANDARD",
    })),
    CommonPrefixes: prefixes.map((rolled) => ({ Prefix: encode(rolled) })),
  });
  exchange.response.writeHead(200, { "Content-Type": "application/xml" }).end(text);
}

function keyOfToken(token: string): string {
  const key = decodePageToken(token);
  if (key === undefined) throw new S3Error(400, "InvalidArgument", "The continuation token provided is incorrect");
  return key;
}

const parser = new XMLParser({ isArray: (name) => name === "Object", parseTagValue: false });

/** DeleteObjects: up to 1,000 keys in one request. */
export async function deleteObjects(exchange: Exchange, directory: ObjectDirectory, text: string): Promise<void> {
  const { Delete: ask } = parser.parse(text) as { Delete?: { Object?: { Key?: string }[]; Quiet?: string } };
  const keys = (ask?.Object ?? []).map(({ Key }) => Key);
  if (keys.length === 0 || keys.length > 1000 || keys.includes(undefined)) {
    throw new S3Error(400, "MalformedXML", "The XML you provided was not well-formed or did not validate");
  }
  for (const key of keys) await directory.remove(key!);
  const Deleted = ask?.Quiet === "true" ? [] : keys.map((Key) => ({ Key }));
  exchange.response.writeHead(200, { "Content-Type": "application/xml" }).end(xml("DeleteResult", { Deleted }));
}
