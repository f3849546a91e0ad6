import type { ErrnoCode } from "../../../core/errno.ts";
import type { Version } from "../../../core/ids.ts";
import { type Response, Status } from "../../../proto/generated/metadata.ts";

const EMPTY = Buffer.alloc(0);
const NONE: never[] = [];

/** A response with empty fields. The empty values are shared: replace them, never write to them. */
export function response(id: number, status: Status, version: Version | undefined): Response {
  return {
    id,
    status,
    error: "",
    version,
    outcome: EMPTY,
    attributes: EMPTY,
    entries: NONE,
    end: false,
    value: EMPTY,
    names: NONE,
    chunks: NONE,
    slices: NONE,
    staleBelief: 0,
    usage: undefined,
    lock: undefined,
    path: "",
    primary: "",
    leader: "",
    primaryUnreachable: false,
  };
}

export function failed(id: number, error: ErrnoCode, version: Version): Response {
  const answer = response(id, Status.FAILED, version);
  answer.error = error;
  return answer;
}

/** The approximate size of a response in its frame, in bytes. */
export function responseBytes(answer: Response): number {
  let bytes = 64 + answer.outcome.length + answer.attributes.length + answer.value.length;
  for (const entry of answer.entries) bytes += 32 + entry.name.length + entry.attributes.length;
  for (const chunk of answer.chunks) bytes += 16 + chunk.chunk.length;
  for (const slice of answer.slices) bytes += 16 + slice.slice.length;
  for (const name of answer.names) bytes += 4 + name.length;
  return bytes;
}

/** The same bytes as a Buffer, without a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
