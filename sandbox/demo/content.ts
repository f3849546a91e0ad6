import { createHash } from "node:crypto";

/** Bytes determined by a label alone, so that a reader can check them without the writer. */
export function contentOf(label: string, bytes: number): Buffer {
  return createHash("shake256", { outputLength: bytes }).update(label).digest();
}
