import { ObjectStoreError, type ObjectStoreErrorCode } from "./object-store.ts";

/** The `reason` of GCS's JSON errors ("HTTP status and error codes for JSON"), and the errors of the token endpoint. */
const BY_REASON: Readonly<Record<string, ObjectStoreErrorCode>> = {
  conditionNotMet: "conflict",
  conflict: "unavailable", // another change of this object is under way
  requestedRangeNotSatisfiable: "range",
  rateLimitExceeded: "slowDown",
  userRateLimitExceeded: "slowDown",
  authError: "denied",
  required: "denied",
  forbidden: "denied",
  insufficientPermissions: "denied",
  accountDisabled: "denied",
  invalid_grant: "denied",
  invalid_client: "denied",
  unauthorized_client: "denied",
  backendError: "unavailable",
  internalError: "unavailable",
  uploadBrokenConnection: "unavailable",
  quotaExceeded: "full",
  storageQuotaExceeded: "full",
};

function byStatus(status: number, message: string): ObjectStoreErrorCode {
  if (status === 400) return /crc32c|md5|checksum|hash/i.test(message) ? "corrupt" : "denied";
  if (status === 404) return /bucket/i.test(message) && !/object/i.test(message) ? "noBucket" : "notFound";
  if (status === 401 || status === 403) return "denied";
  if (status === 408) return "timeout";
  if (status === 409 || status === 412) return "conflict";
  if (status === 416) return "range";
  if (status === 429) return "slowDown";
  return status >= 500 ? "unavailable" : "denied";
}

/** The error of a response without success. `body` as received: GCS's JSON, or text. */
export function fromGsAnswer(answer: { status: number; body: string }, what: string): ObjectStoreError {
  const { reason, message } = parse(answer.body);
  const known = reason !== undefined && Object.hasOwn(BY_REASON, reason) ? BY_REASON[reason] : undefined;
  const code = known ?? byStatus(answer.status, message);
  return new ObjectStoreError(code, `${what}: ${answer.status}${reason ? ` ${reason}` : ""}: ${message}`);
}

function parse(body: string): { reason: string | undefined; message: string } {
  try {
    const { error, error_description } = JSON.parse(body);
    if (typeof error === "string") return { reason: error, message: error_description ?? error };
    return { reason: error.errors?.[0]?.reason, message: error.message ?? body };
  } catch {
    return { reason: undefined, message: body.slice(0, 200) || "no body" };
  }
}

/** The error when there is no response, or the token endpoint failed: gaxios's and node-fetch's errors. */
export function fromGsError(error: unknown, what: string): ObjectStoreError {
  const failure = (error ?? {}) as {
    code?: unknown;
    type?: unknown;
    message?: string;
    response?: { status?: number; data?: unknown };
  };
  const message = failure.message ?? String(error);
  if (failure.response?.status !== undefined) {
    const { data, status } = failure.response;
    return fromGsAnswer({ status, body: typeof data === "string" ? data : JSON.stringify(data ?? {}) }, what);
  }
  const timedOut = failure.code === "ETIMEDOUT" || failure.type === "request-timeout";
  const noCredentials = /credential|private.key|PEM|DECODER|does not exist, or it is not a file/i.test(message);
  const code = timedOut ? "timeout" : noCredentials ? "denied" : "unavailable";
  return new ObjectStoreError(code, `${what}: ${message}`, { cause: error });
}
