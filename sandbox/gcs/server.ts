import type { IncomingMessage } from "node:http";
import { readAll } from "../bodies.ts";
import { type CloudServer, type CloudService, type Exchange, type Listen, serveCloud } from "../cloud-server.ts";
import type { OperationName } from "../faults.ts";
import { type ObjectDirectory, openBuckets } from "../object-directory.ts";
import { errorJson, GcsError } from "./error.ts";
import { type Bucket, copyObject, deleteObject, getObject, listObjects, originOf, sendJson } from "./objects.ts";
import { type ServiceAccountKey, serviceAccountIn, TokenError, Tokens } from "./tokens.ts";
import { Uploads } from "./uploads.ts";

export interface GcsServerOptions extends Listen {
  /** Objects and the service account's key are stored here and survive a restart. */
  readonly directory: string;
  readonly buckets: readonly string[];
  readonly tokenLifeSeconds?: number;
}

export interface GcsServer extends CloudServer {
  /** The content of the file that GOOGLE_APPLICATION_CREDENTIALS names. */
  readonly credentials: ServiceAccountKey;
}

/** A strict local Google Cloud Storage: the JSON API with its token endpoint, checksums and preconditions enforced. */
export async function startGcsServer(options: GcsServerOptions): Promise<GcsServer> {
  const directories = await openBuckets(options.directory, options.buckets);
  const tokens = new Tokens(options.directory, options.tokenLifeSeconds ?? 3600);
  const server = await serveCloud(new GcsService(directories, tokens), options);
  return { ...server, credentials: serviceAccountIn(options.directory, `${server.endpoint}/token`) };
}

/** What a path of the JSON API refers to. */
interface Target {
  readonly bucket: string;
  readonly isObjects: boolean;
  readonly key: string;
  readonly copy: { verb: "rewriteTo" | "copyTo"; bucket: string; key: string } | undefined;
}

const UPLOAD_PATH = /^(?:\/resumable)?\/upload\/storage\/v1\/b\/([^/]+)\/o$/;
const COPY_PATH = /^\/storage\/v1\/b\/([^/]+)\/o\/([^/]+)\/(rewriteTo|copyTo)\/b\/([^/]+)\/o\/([^/]+)$/;
const OBJECT_PATH = /^(?:\/download)?\/storage\/v1\/b\/([^/]+)(\/o)?(?:\/([^/]+))?$/;

class GcsService implements CloudService {
  readonly #directories: ReadonlyMap<string, ObjectDirectory>;
  readonly #tokens: Tokens;
  readonly #uploads = new Uploads();

  constructor(directories: ReadonlyMap<string, ObjectDirectory>, tokens: Tokens) {
    this.#directories = directories;
    this.#tokens = tokens;
  }

  identify(request: IncomingMessage, url: URL) {
    const method = request.method ?? "";
    const operation = operationOf(method, url);
    const query = url.searchParams;
    const key = targetOf(url.pathname)?.key || (query.get("name") ?? query.get("prefix") ?? "");
    return { operation, method, key };
  }

  async handle(exchange: Exchange): Promise<void> {
    const { request, url } = exchange;
    if (url.pathname === "/token") return this.#grant(exchange);
    // A session's URI needs no further authorization.
    const isUpload = UPLOAD_PATH.test(url.pathname);
    if (isUpload && url.searchParams.has("upload_id")) return this.#uploads.resume(exchange);
    this.#tokens.check(request.headers.authorization);
    if (isUpload) {
      if (request.method !== "POST") throw notFound();
      return this.#uploads.insert(exchange, this.#bucket(UPLOAD_PATH.exec(url.pathname)![1]!));
    }
    const target = targetOf(url.pathname);
    if (target === undefined) throw notFound();
    const bucket = this.#bucket(target.bucket);
    if (target.copy !== undefined) return this.#copy(exchange, bucket, target);
    if (request.method === "GET" && !target.isObjects) return this.#describe(exchange, bucket);
    if (request.method === "GET" && target.key === "") return listObjects(exchange, bucket);
    if (request.method === "GET") return getObject(exchange, bucket, target.key);
    if (request.method === "DELETE" && target.key !== "") return deleteObject(exchange, bucket, target.key);
    throw new GcsError(501, "notImplemented", "Not implemented here");
  }

  fail(exchange: Exchange, fault: "unavailable" | "slowDown"): void {
    const message = "The object exceeded the rate limit for object mutation operations.";
    const slow = new GcsError(429, "rateLimitExceeded", message);
    this.failed(exchange, fault === "slowDown" ? slow : new GcsError(503, "backendError", "Backend Error"));
  }

  failed(exchange: Exchange, error: unknown): void {
    if (error instanceof TokenError) {
      sendJson(exchange, { error: error.error, error_description: error.message }, 400);
      return;
    }
    const known = error instanceof GcsError ? error : new GcsError(500, "internalError", String(error));
    exchange.response.writeHead(known.status, { "Content-Type": "application/json; charset=UTF-8" });
    exchange.response.end(known.status === 304 ? undefined : errorJson(known));
  }

  async #grant(exchange: Exchange): Promise<void> {
    const form = new URLSearchParams((await readAll(exchange.body())).toString());
    sendJson(exchange, this.#tokens.grant(form, `${originOf(exchange)}/token`));
  }

  async #copy(exchange: Exchange, bucket: Bucket, target: Target): Promise<void> {
    if (exchange.request.method !== "POST") throw notFound();
    const { verb, ...to } = target.copy!;
    const from = { bucket, key: target.key };
    await copyObject(exchange, from, { bucket: this.#bucket(to.bucket), key: to.key }, verb);
  }

  #bucket(name: string): Bucket {
    const directory = this.#directories.get(name);
    if (directory === undefined) throw new GcsError(404, "notFound", "The specified bucket does not exist.");
    return { name, directory };
  }

  #describe(exchange: Exchange, { name }: Bucket): void {
    sendJson(exchange, { kind: "storage#bucket", id: name, name, location: "LOCAL", storageClass: "STANDARD" });
  }
}

function targetOf(pathname: string): Target | undefined {
  const copy = COPY_PATH.exec(pathname)?.slice(1).map(decodeURIComponent);
  if (copy !== undefined) {
    const [bucket, key, verb, toBucket, toKey] = copy as [string, string, "rewriteTo" | "copyTo", string, string];
    return { bucket, isObjects: true, key, copy: { verb, bucket: toBucket, key: toKey } };
  }
  const parts = OBJECT_PATH.exec(pathname);
  if (parts === null) return undefined;
  const [bucket, key] = [decodeURIComponent(parts[1]!), decodeURIComponent(parts[3] ?? "")];
  return { bucket, isObjects: parts[2] !== undefined, key, copy: undefined };
}

function operationOf(method: string, url: URL): OperationName {
  if (UPLOAD_PATH.test(url.pathname)) return "create";
  const target = targetOf(url.pathname);
  if (target === undefined || !target.isObjects) return "other";
  if (target.copy !== undefined) return "copy";
  if (target.key === "") return "list";
  if (method === "DELETE") return "delete";
  return url.searchParams.get("alt") === "media" || url.pathname.startsWith("/download/") ? "read" : "head";
}

function notFound(): GcsError {
  return new GcsError(404, "notFound", "Not Found");
}
