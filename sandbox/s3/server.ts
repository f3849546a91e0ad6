import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { type CloudServer, type CloudService, type Exchange, type Listen, serveCloud } from "../cloud-server.ts";
import type { OperationName } from "../faults.ts";
import { type ObjectDirectory, openBuckets } from "../object-directory.ts";
import { errorXml, S3Error, xml } from "./error.ts";
import { deleteObjects, listObjects } from "./listing.ts";
import { Multiparts } from "./multipart.ts";
import { copyObject, deleteObject, getObject, type ObjectRequest, putObject } from "./objects.ts";
import { receiveText } from "./payload.ts";
import { type Account, verifySignature } from "./signature.ts";

export interface S3ServerOptions extends Account, Listen {
  /** Objects are stored here and survive a restart. */
  readonly directory: string;
  readonly buckets: readonly string[];
}

/** A strict local S3: path-style, Signature Version 4 checked, checksums and preconditions enforced. */
export async function startS3Server(options: S3ServerOptions): Promise<CloudServer> {
  const buckets = await openBuckets(options.directory, options.buckets);
  return serveCloud(new S3Service(options, buckets), options);
}

class S3Service implements CloudService {
  readonly #account: Account;
  readonly #buckets: ReadonlyMap<string, ObjectDirectory>;
  readonly #multiparts: ReadonlyMap<string, Multiparts>;

  constructor(account: Account, buckets: ReadonlyMap<string, ObjectDirectory>) {
    this.#account = account;
    this.#buckets = buckets;
    this.#multiparts = new Map([...buckets].map(([name, directory]) => [name, new Multiparts(directory)]));
  }

  identify(request: IncomingMessage, url: URL) {
    const { key } = target(request);
    const method = request.method ?? "";
    const isList = key === "" && method === "GET" && url.searchParams.has("list-type");
    const operation = isList ? "list" : operationOf(request, key);
    return { operation, method, key: isList ? (url.searchParams.get("prefix") ?? "") : key };
  }

  async handle(exchange: Exchange): Promise<void> {
    const { request, response, url } = exchange;
    const { bucket, key } = target(request);
    const signed = verifySignature(request, url, this.#account);
    const directory = this.#buckets.get(bucket);
    if (bucket === "") return this.#listBuckets(exchange);
    if (directory === undefined) {
      throw new S3Error(404, "NoSuchBucket", "The specified bucket does not exist", { BucketName: bucket });
    }
    if (key !== "") return this.#onObject({ exchange, signed, directory, key }, bucket);
    if (request.method === "HEAD") {
      response.writeHead(200, { "x-amz-bucket-region": this.#account.region }).end();
    } else if (request.method === "GET" && url.searchParams.has("location")) {
      response.writeHead(200).end(xml("LocationConstraint", { "#text": this.#account.region }));
    } else if (request.method === "GET") {
      listObjects(exchange, directory, bucket);
    } else if (request.method === "POST" && url.searchParams.has("delete")) {
      await deleteObjects(exchange, directory, await receiveText(exchange, signed));
    } else throw notImplemented();
  }

  fail(exchange: Exchange, fault: "unavailable" | "slowDown"): void {
    const error =
      fault === "slowDown"
        ? new S3Error(503, "SlowDown", "Please reduce your request rate.")
        : new S3Error(503, "ServiceUnavailable", "Service is unable to handle request.");
    this.failed(exchange, error);
  }

  failed({ request, response }: Exchange, error: unknown): void {
    const known = error instanceof S3Error ? error : new S3Error(500, "InternalError", String(error));
    const requestId = randomBytes(8).toString("hex").toUpperCase();
    const headers = { "x-amz-request-id": requestId, "Content-Type": "application/xml" };
    const text = errorXml(known, (request.url ?? "").split("?", 1)[0]!, requestId);
    response.writeHead(known.status, headers).end(request.method === "HEAD" || known.status === 304 ? undefined : text);
  }

  async #onObject(asked: ObjectRequest, bucket: string): Promise<void> {
    const { request, url } = asked.exchange;
    const multiparts = this.#multiparts.get(bucket)!;
    const isPart = url.searchParams.has("uploadId");
    switch (request.method) {
      case "PUT":
        if (isPart) return multiparts.putPart(asked);
        if (request.headers["x-amz-copy-source"] !== undefined) return copyObject(asked, this.#buckets);
        return putObject(asked);
      case "GET":
      case "HEAD":
        return getObject(asked);
      case "DELETE":
        return isPart ? multiparts.abort(asked) : deleteObject(asked);
      case "POST":
        if (url.searchParams.has("uploads")) return multiparts.begin(asked, bucket);
        if (isPart) return multiparts.complete(asked, bucket);
    }
    throw notImplemented();
  }

  #listBuckets({ response }: Exchange): void {
    const Bucket = [...this.#buckets.keys()].map((Name) => ({ Name, CreationDate: new Date(0).toISOString() }));
    response.writeHead(200).end(xml("ListAllMyBucketsResult", { Buckets: { Bucket } }));
  }
}

function operationOf(request: IncomingMessage, key: string): OperationName {
  if (key === "") return "other";
  if (request.method === "PUT") return request.headers["x-amz-copy-source"] === undefined ? "create" : "copy";
  if (request.method === "GET") return "read";
  if (request.method === "HEAD") return "head";
  return request.method === "DELETE" ? "delete" : "other";
}

function target(request: IncomingMessage): { bucket: string; key: string } {
  const path = decodeURIComponent((request.url ?? "/").split("?", 1)[0]!);
  const slash = path.indexOf("/", 1);
  return slash < 0 ? { bucket: path.slice(1), key: "" } : { bucket: path.slice(1, slash), key: path.slice(slash + 1) };
}

function notImplemented(): S3Error {
  return new S3Error(
    501,
    "NotImplemented",
    "A header or query you provided implies functionality that is not implemented",
  );
}
