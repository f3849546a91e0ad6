/** An error of GCS's JSON API ("HTTP status and error codes for JSON"). */
export class GcsError extends Error {
  override readonly name = "GcsError";
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export function errorJson(error: GcsError): string {
  const { status: code, message, reason } = error;
  return JSON.stringify({ error: { code, message, errors: [{ message, domain: "global", reason }] } });
}
