import { fileURLToPath } from "node:url";

/** Where a bucket is, as its URL says: `file:///dir`, `s3://name?region=…&endpoint=…` or `gs://name?endpoint=…`. */
export type BucketUrl = FileBucket | S3Bucket | GsBucket;

export interface FileBucket {
  readonly service: "file";
  /** The URL as configured: for messages. */
  readonly url: string;
  readonly directory: string;
}

export interface S3Bucket {
  readonly service: "s3";
  readonly url: string;
  readonly bucket: string;
  /** Undefined: the SDK's own configuration decides. */
  readonly region: string | undefined;
  /** Undefined: AWS itself. */
  readonly endpoint: string | undefined;
}

export interface GsBucket {
  readonly service: "gs";
  readonly url: string;
  readonly bucket: string;
  /** Undefined: Google Cloud Storage itself. */
  readonly endpoint: string | undefined;
}

/** A URL that is not valid for a bucket. */
export interface BadBucketUrl {
  readonly service: undefined;
  /** The problem, as a phrase to put after the URL or the name of its key: "must be …". */
  readonly problem: string;
  /** The URL without credentials: for messages. */
  readonly url: string;
}

const PARAMETERS = { file: [], s3: ["region", "endpoint"], gs: ["endpoint"] } as const;

/** Parses a URL and checks its form. Sends no request: the bucket may not exist. */
export function parseBucketUrl(text: string): BucketUrl | BadBucketUrl {
  const url = URL.parse(text);
  const service = url?.protocol.slice(0, -1);
  if (url === null || (service !== "file" && service !== "s3" && service !== "gs")) {
    return bad(text, "must be file:///dir, s3://name?region=… or gs://name");
  }
  const problem = problemOf(url, service);
  if (problem !== undefined) return bad(withoutCredentials(url), problem);
  if (service === "file") return { service, url: text, directory: fileURLToPath(url) };
  const endpoint = url.searchParams.get("endpoint")?.replace(/\/+$/, "");
  const where = { url: text, bucket: url.hostname, endpoint };
  if (service === "gs") return { service, ...where };
  // Signatures need a region, and services at an own endpoint rarely care which.
  const region = url.searchParams.get("region") ?? (endpoint === undefined ? undefined : "us-east-1");
  return { service, ...where, region };
}

function problemOf(url: URL, service: "file" | "s3" | "gs"): string | undefined {
  if (url.username !== "" || url.password !== "") return "must hold no credentials: they come from the environment";
  if (url.hash !== "") return `must not end in a fragment ("${url.hash}")`;
  const allowed: readonly string[] = PARAMETERS[service];
  for (const name of url.searchParams.keys()) {
    if (!allowed.includes(name)) return `has an unknown parameter "${name}"`;
    if (url.searchParams.getAll(name).length > 1) return `has "${name}" twice`;
  }
  return service === "file" ? directoryProblem(url) : (nameProblem(url) ?? endpointProblem(url));
}

function directoryProblem(url: URL): string | undefined {
  if (url.host !== "") return `must be file:///${url.host}${url.pathname}, with three slashes`;
  return url.pathname === "/" ? "must not be the root directory" : undefined;
}

function nameProblem(url: URL): string | undefined {
  if (url.hostname === "") return `must name a bucket: ${url.protocol}//name`;
  if (url.port !== "") return "must have its port in ?endpoint=, not after the name";
  if (url.pathname !== "" && url.pathname !== "/") return `must be a whole bucket, without a path ("${url.pathname}")`;
  if (!/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/.test(url.hostname))
    return `must name a bucket: "${url.hostname}" is not a valid name`;
  return undefined;
}

function endpointProblem(url: URL): string | undefined {
  const endpoint = url.searchParams.get("endpoint");
  if (endpoint === null || /^https?:$/.test(URL.parse(endpoint)?.protocol ?? "")) return undefined;
  return `must have an http:// or https:// URL as its endpoint, not "${endpoint}"`;
}

function withoutCredentials(url: URL): string {
  const bare = new URL(url);
  bare.username = "";
  bare.password = "";
  return bare.href;
}

function bad(url: string, problem: string): BadBucketUrl {
  return { service: undefined, problem, url };
}
