import { crc32c as native } from "@node-rs/crc32";

/** CRC-32C (Castagnoli, RFC 3720) as an unsigned number. `before`: the CRC of the bytes before these, to be continued. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  return native(bytes, before) >>> 0;
}

/** The form that S3 (`x-amz-checksum-crc32c`) and GCS (`crc32c`) use: base64 of the four bytes, big-endian. */
export function crc32cToBase64(crc: number): string {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(crc);
  return bytes.toString("base64");
}

/** @returns undefined for a text that is not the CRC-32C of an object (S3's checksum of a multipart upload ends in `-3`, say). */
export function crc32cFromBase64(text: string | undefined): number | undefined {
  if (text === undefined || !/^[A-Za-z0-9+/]{6}==$/.test(text)) return undefined;
  return Buffer.from(text, "base64").readUInt32BE();
}
