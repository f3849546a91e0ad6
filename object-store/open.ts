import { fileURLToPath } from "node:url";
import { UserError } from "../base/user-error.ts";
import { FileObjectStore } from "./file.ts";
import { type GsBucket, GsObjectStore } from "./gs.ts";
import type { ObjectStore } from "./object-store.ts";
import type { ObjectStoreOptions } from "./options.ts";
import { type S3Bucket, S3ObjectStore } from "./s3.ts";

/**
 * Opens the bucket that a URL names: `file:///dir`, `s3://name?region=…&endpoint=…`, `gs://name?endpoint=…`.
 * Nothing is asked of the service yet: `probe()` does that.
 * @throws UserError for a URL that is wrong.
 */
export function openObjectStore(url: string, options?: ObjectStoreOptions): ObjectStore {
  const where = parseBucketUrl(url);
  switch (where.service) {
    case "file":
      return new FileObjectStore(where);
    case "s3":
      return new S3ObjectStore(where, options);
    case "gs":
      return new GsObjectStore(where, options);
  }
}

export type BucketUrl =
  | { service: "file"; url: string; directory: string }
  | ({ service: "s3" } & S3Bucket)
  | ({ service: "gs" } & GsBucket);

const PARAMETERS = { file: [], s3: ["region", "endpoint"], gs: ["endpoint"] } as const;

/** @throws UserError that names the URL and what is wrong with it. */
export function parseBucketUrl(text: string): BucketUrl {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const service = url?.protocol.slice(0, -1);
  if (url === undefined || (service !== "file" && service !== "s3" && service !== "gs")) {
    throw wrong(text, "write file:///dir, s3://name?region=… or gs://name");
  }
  if (url.username !== "" || url.password !== "") {
    throw wrong(withoutCredentials(url), "credentials do not belong in a bucket's URL: leave them to the environment");
  }
  if (url.hash !== "") throw wrong(text, `"${url.hash}" does not belong there`);
  const allowed: readonly string[] = PARAMETERS[service];
  for (const name of url.searchParams.keys()) {
    if (!allowed.includes(name)) throw wrong(text, `unknown parameter "${name}"`);
    if (url.searchParams.getAll(name).length > 1) throw wrong(text, `"${name}" is given twice`);
  }
  if (service === "file") return { service, url: text, directory: directoryOf(url, text) };
  const where = { url: text, bucket: bucketOf(url, text), endpoint: endpointOf(url, text) };
  if (service === "gs") return { service, ...where };
  // A private endpoint rarely cares for the region, and signatures need one.
  const region = url.searchParams.get("region") ?? (where.endpoint === undefined ? undefined : "us-east-1");
  return { service, ...where, region };
}

function directoryOf(url: URL, text: string): string {
  if (url.host !== "") throw wrong(text, `write file:///${url.host}${url.pathname}, with three slashes`);
  if (url.pathname === "/") throw wrong(text, "the root directory cannot be a bucket");
  return fileURLToPath(url);
}

function bucketOf(url: URL, text: string): string {
  if (url.port !== "") throw wrong(text, "a port belongs in ?endpoint=");
  if (url.pathname !== "" && url.pathname !== "/") throw wrong(text, `a bucket's name has no path ("${url.pathname}")`);
  if (!/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/.test(url.hostname)) throw wrong(text, "that is no bucket name");
  return url.hostname;
}

function endpointOf(url: URL, text: string): string | undefined {
  const endpoint = url.searchParams.get("endpoint");
  if (endpoint === null) return undefined;
  const parsed = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (parsed?.protocol !== "http:" && parsed?.protocol !== "https:") {
    throw wrong(text, `"endpoint" is no http:// or https:// URL: ${endpoint}`);
  }
  return endpoint.replace(/\/+$/, "");
}

function withoutCredentials(url: URL): string {
  const bare = new URL(url);
  bare.username = "";
  bare.password = "";
  return bare.href;
}

function wrong(url: string, why: string): UserError {
  return new UserError(`bucket ${url}: ${why}`, 2);
}
