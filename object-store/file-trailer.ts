/**
 * What a file of a directory bucket ends in: four bytes of magic and the CRC-32C of all before them, big-endian. Data and
 * checksum appear together, in the one atomic step that gives the file its name.
 */
import type { FileHandle } from "node:fs/promises";
import { ObjectStoreError } from "./object-store.ts";

const MAGIC = Buffer.from("mfs1");
export const TRAILER_BYTES = MAGIC.length + 4;

/**
 * Writes a body and its trailer to an empty file, durably.
 * @throws the system's error; ENOSPC when the system wrote less than it was given; the signal's reason.
 */
export async function writeWithTrailer(
  file: FileHandle,
  body: Uint8Array,
  options: { crc32c: number; signal?: AbortSignal },
): Promise<void> {
  const trailer = Buffer.allocUnsafe(TRAILER_BYTES);
  MAGIC.copy(trailer);
  trailer.writeUInt32BE(options.crc32c, MAGIC.length);
  const pieces = [body, trailer].filter((piece) => piece.length > 0);
  const { bytesWritten } = await file.writev(pieces);
  if (bytesWritten !== body.length + trailer.length) throw Object.assign(new Error("short write"), { code: "ENOSPC" });
  options.signal?.throwIfAborted();
  await file.datasync();
}

/** The body's length and the checksum that the trailer states; undefined when the file does not end in a trailer. */
export async function readTrailer(
  file: FileHandle,
  fileBytes: number,
): Promise<{ bytes: number; crc32c: number } | undefined> {
  const bytes = fileBytes - TRAILER_BYTES;
  if (bytes < 0) return undefined;
  const trailer = Buffer.from(await readFully(file, bytes, TRAILER_BYTES));
  if (!MAGIC.equals(trailer.subarray(0, MAGIC.length))) return undefined;
  return { bytes, crc32c: trailer.readUInt32BE(MAGIC.length) };
}

/**
 * Reads `length` bytes from `position`, into `into` where it has that length.
 * @throws ObjectStoreError `corrupt` when the file ends before.
 */
export async function readFully(
  file: FileHandle,
  position: number,
  length: number,
  into?: Uint8Array,
): Promise<Uint8Array> {
  const bytes = into?.length === length ? into : Buffer.allocUnsafeSlow(length);
  for (let at = 0; at < length; ) {
    const { bytesRead } = await file.read(bytes, at, length - at, position + at);
    if (bytesRead === 0) throw new ObjectStoreError("corrupt", "the file was truncated while it was read");
    at += bytesRead;
  }
  return bytes;
}
