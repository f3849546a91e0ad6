import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { S3Error } from "./error.ts";

export interface Account {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
}

/** What is needed to verify the chunks of a verified request's body. */
export interface Signed {
  readonly key: Buffer;
  readonly scope: string;
  readonly amzDate: string;
  readonly signature: string;
  /** `x-amz-content-sha256`: a hash, or one of S3's constants for an unsigned or chunked payload. */
  readonly payload: string;
}

const SKEW_MS_MAX = 15 * 60_000;
const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/;

/**
 * Verifies a request's Signature Version 4 ("Authenticating Requests: Using the Authorization Header").
 * @throws S3Error
 */
export function verifySignature(request: IncomingMessage, url: URL, account: Account): Signed {
  const header = request.headers.authorization;
  if (header === undefined) throw new S3Error(403, "AccessDenied", "Access Denied: the request is not signed");
  const parts = AUTHORIZATION.exec(header);
  if (parts === null) throw new S3Error(400, "AuthorizationHeaderMalformed", "The authorization header is malformed");
  const [, accessKeyId, day, region, service, signedHeaders, signature] = parts as unknown as string[];
  if (accessKeyId !== account.accessKeyId) {
    throw new S3Error(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.");
  }
  if (region !== account.region || service !== "s3") {
    const message = `The authorization header is malformed; the region '${region}' is wrong; expecting '${account.region}'`;
    throw new S3Error(400, "AuthorizationHeaderMalformed", message, { Region: account.region });
  }
  const amzDate = String(request.headers["x-amz-date"] ?? "");
  checkDate(amzDate, day!);
  const names = signedHeaders!.split(";");
  checkSignedHeaders(request, names);
  const payload = String(request.headers["x-amz-content-sha256"] ?? "");
  const canonical = canonicalRequest(request, url, names, payload);
  const scope = `${day}/${region}/s3/aws4_request`;
  const key = signingKey(account, day!);
  const expected = hmac(key, ["AWS4-HMAC-SHA256", amzDate, scope, sha256(canonical)].join("\n"));
  if (!timingSafeEqual(expected, Buffer.from(signature!, "hex"))) {
    throw new S3Error(
      403,
      "SignatureDoesNotMatch",
      "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    );
  }
  return { key, scope, amzDate, signature: signature!, payload };
}

/** The signature of a chunk of a streamed payload, or of its trailer. */
export function chunkSignature(signed: Signed, previous: string, what: "PAYLOAD" | "TRAILER", bytes: Buffer): string {
  const head = [`AWS4-HMAC-SHA256-${what}`, signed.amzDate, signed.scope, previous];
  const text = what === "PAYLOAD" ? [...head, sha256(""), sha256(bytes)] : [...head, sha256(bytes)];
  return hmac(signed.key, text.join("\n")).toString("hex");
}

function checkDate(amzDate: string, day: string): void {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(amzDate);
  if (parts === null || !amzDate.startsWith(day)) {
    throw new S3Error(403, "AccessDenied", "AWS authentication requires a valid x-amz-date header");
  }
  const [year, month, date, hour, minute, second] = parts.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (Math.abs(Date.UTC(year, month - 1, date, hour, minute, second) - Date.now()) > SKEW_MS_MAX) {
    const message = "The difference between the request time and the current time is too large.";
    throw new S3Error(403, "RequestTimeTooSkewed", message, { ServerTime: new Date().toISOString() });
  }
}

function checkSignedHeaders(request: IncomingMessage, names: readonly string[]): void {
  const must = Object.keys(request.headers).filter((name) => name.startsWith("x-amz-") || name === "content-md5");
  const missing = ["host", "x-amz-content-sha256", ...must].filter((name) => !names.includes(name));
  if (missing.length === 0) return;
  const message = "There were headers present in the request which were not signed";
  throw new S3Error(403, "AccessDenied", message, { HeadersNotSigned: missing.join(", ") });
}

function canonicalRequest(request: IncomingMessage, url: URL, names: readonly string[], payload: string): string {
  const path = (request.url ?? "/").split("?", 1)[0]!;
  const query = [...url.searchParams]
    .map(([name, value]) => `${uriEncode(name)}=${uriEncode(value)}`)
    .sort()
    .join("&");
  const headers = names.map((name) => `${name}:${headerValue(request, name)}\n`).join("");
  const canonicalPath = path
    .split("/")
    .map((part) => uriEncode(decodeURIComponent(part)))
    .join("/");
  return [request.method, canonicalPath, query, headers, names.join(";"), payload].join("\n");
}

function headerValue(request: IncomingMessage, name: string): string {
  const values = request.headersDistinct[name] ?? [];
  return values.map((value) => value.trim().replace(/ +/g, " ")).join(",");
}

/** AWS's URI encoding: everything but RFC 3986's unreserved characters. */
function uriEncode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

const signingKeys = new Map<string, Buffer>();

function signingKey(account: Account, day: string): Buffer {
  const id = `${account.secretAccessKey}/${day}/${account.region}`;
  const known = signingKeys.get(id);
  if (known !== undefined) return known;
  const steps = [day, account.region, "s3", "aws4_request"];
  const key = steps.reduce<Buffer>(hmac, Buffer.from(`AWS4${account.secretAccessKey}`));
  signingKeys.set(id, key);
  return key;
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function sha256(bytes: string | Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
