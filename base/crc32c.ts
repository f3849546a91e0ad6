import { crc32c as native } from "@node-rs/crc32";

/** CRC-32C (Castagnoli) as an unsigned number; `before` continues one that covers the bytes before these. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  return native(bytes, before) >>> 0;
}

/** As S3 (`x-amz-checksum-crc32c`) and GCS (`crc32c`) write it: base64 of the four bytes, highest first. */
export function crc32cToBase64(crc: number): string {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString("base64");
}

/** @returns undefined for a text that is no CRC-32C (an S3 checksum of a multipart upload, say: `…-3`). */
export function crc32cFromBase64(text: string | undefined): number | undefined {
  if (text === undefined || !/^[A-Za-z0-9+/]{6}==$/.test(text)) return undefined;
  return Buffer.from(text, "base64").readUInt32BE();
}
