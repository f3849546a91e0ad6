import type { Readable } from "node:stream";
import { crc32c } from "../base/crc32c.ts";
import { ObjectStoreError } from "./object-store.ts";

/**
 * Collects a body of exactly `bytes`.
 * @throws ObjectStoreError `corrupt` for a body that is truncated, too long, or does not match `crc` where that is given.
 */
export async function collectBody(
  body: Readable,
  expected: { what: string; bytes: number; crc: number | undefined },
): Promise<Buffer> {
  const whole = Buffer.allocUnsafeSlow(expected.bytes);
  let at = 0;
  try {
    for await (const piece of body as AsyncIterable<Buffer>) {
      if (at + piece.length > whole.length) throw corrupt(expected, `more than ${expected.bytes} bytes`);
      at += piece.copy(whole, at);
    }
  } catch (error) {
    if (error instanceof ObjectStoreError || isTimeout(error)) throw error;
    throw corrupt(expected, `the body ended after ${at} of ${expected.bytes} bytes`, error);
  }
  if (at < whole.length) throw corrupt(expected, `the body ended after ${at} of ${expected.bytes} bytes`);
  if (expected.crc !== undefined && crc32c(whole) !== expected.crc) {
    throw corrupt(expected, "the bytes do not match the checksum that the service states");
  }
  return whole;
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ETIMEDOUT";
}

function corrupt(expected: { what: string }, why: string, cause?: unknown): ObjectStoreError {
  return new ObjectStoreError("corrupt", `${expected.what}: ${why}`, { cause });
}

/** The range that a read asks for, as a `Range` header (RFC 9110, 14.2); undefined: the whole object. */
export function rangeHeader(range: { offset?: number; length?: number }): string | undefined {
  if (range.offset === undefined && range.length === undefined) return undefined;
  const first = range.offset ?? 0;
  return range.length === undefined ? `bytes=${first}-` : `bytes=${first}-${first + range.length - 1}`;
}
