/** A listing's page token: the last key of the page before, in base64, so that it is opaque to the client. */
export function encodePageToken(lastKey: string): string {
  return Buffer.from(lastKey).toString("base64");
}

/** @returns undefined for a malformed token. */
export function decodePageToken(token: string): string | undefined {
  const bytes = Buffer.from(token, "base64");
  return bytes.toString("base64") === token ? bytes.toString() : undefined;
}
