import { ObjectStoreError, type ObjectStoreErrorCode } from "./object-store.ts";

/** S3's error codes (API Reference, "Error responses"), and those that compatible services and the SDK add. */
const BY_NAME: Readonly<Record<string, ObjectStoreErrorCode>> = {
  NoSuchKey: "notFound",
  NotFound: "notFound",
  NoSuchBucket: "noBucket",
  InvalidBucketName: "noBucket",
  PermanentRedirect: "noBucket",
  AuthorizationHeaderMalformed: "denied", // a wrong region; the message names the right one
  AccessDenied: "denied",
  Forbidden: "denied",
  AllAccessDisabled: "denied",
  AccountProblem: "denied",
  InvalidAccessKeyId: "denied",
  SignatureDoesNotMatch: "denied",
  ExpiredToken: "denied",
  InvalidToken: "denied",
  CredentialsProviderError: "denied",
  TokenProviderError: "denied",
  BadDigest: "corrupt",
  InvalidDigest: "corrupt",
  XAmzContentSHA256Mismatch: "corrupt",
  XAmzContentChecksumMismatch: "corrupt",
  IncompleteBody: "unavailable", // our upload was cut in transit
  InvalidRange: "range",
  PreconditionFailed: "conflict",
  ConditionalRequestConflict: "unavailable", // another upload of this key is under way
  OperationAborted: "unavailable",
  SlowDown: "slowDown",
  SlowDownRead: "slowDown",
  SlowDownWrite: "slowDown",
  ThrottlingException: "slowDown",
  TooManyRequests: "slowDown",
  RequestTimeout: "timeout",
  TimeoutError: "timeout",
  ETIMEDOUT: "timeout",
  ECONNRESET: "unavailable",
  ECONNREFUSED: "unavailable",
  EPIPE: "unavailable",
  RequestTimeTooSkewed: "unavailable", // by the next attempt the SDK has adopted the service's time
  ServiceUnavailable: "unavailable",
  InternalError: "unavailable",
  QuotaExceeded: "full",
  XMinioStorageFull: "full",
  XMinioAdminBucketQuotaExceeded: "full",
};

/** The meaning of a status where no body names the error (HEAD). */
function byStatus(status: number | undefined): ObjectStoreErrorCode {
  if (status === undefined) return "unavailable";
  if (status === 301 || status === 307) return "noBucket";
  if (status === 404) return "notFound";
  if (status === 401 || status === 403) return "denied";
  if (status === 408) return "timeout";
  if (status === 409 || status === 412) return "conflict";
  if (status === 416) return "range";
  if (status === 429) return "slowDown";
  if (status === 507) return "full";
  return status >= 500 ? "unavailable" : "denied";
}

interface S3Failure {
  name?: string;
  Code?: string;
  code?: string;
  message?: string;
  $metadata?: { httpStatusCode?: number };
}

export function fromS3Error(error: unknown, what: string): ObjectStoreError {
  const failure = (error ?? {}) as S3Failure;
  // The system's code before the SDK's name: the SDK calls every lost connection a TimeoutError.
  const names = [failure.Code, failure.code, failure.name].filter((name) => name !== undefined);
  const known = names.find((name) => Object.hasOwn(BY_NAME, name));
  const code = known === undefined ? byStatus(failure.$metadata?.httpStatusCode) : BY_NAME[known]!;
  const label = known ?? names.find((name) => name !== "Error") ?? "error";
  return new ObjectStoreError(code, `${what}: ${label}: ${failure.message ?? String(error)}`, { cause: error });
}
