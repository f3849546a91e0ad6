import { createHash } from "node:crypto";

/** Bytes that follow from a label alone: whoever reads them knows what they must be. */
export function contentOf(label: string, bytes: number): Buffer {
  return createHash("shake256", { outputLength: bytes }).update(label).digest();
}
