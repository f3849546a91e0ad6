import type { RefusalKind } from "./refusals.ts";

/** The largest frame that a member sends, with a margin: an entry is at most 8 MiB. Also a limit of the gRPC servers. */
export const RAFT_FRAME_BYTES_MAX = 16 << 20;

/** What a handler receives instead of a frame that cannot be decoded. */
export class BadFrame {
  readonly kind: RefusalKind;
  /** The problem, for the log. */
  readonly line: string;

  constructor(kind: RefusalKind, line: string) {
    this.kind = kind;
    this.line = line;
  }
}

/** The same gRPC method, but with a BadFrame instead of an error for a frame that is not protobuf, or larger than any valid one. */
export function tolerant<M extends { readonly requestDeserialize: (bytes: Buffer) => unknown }>(
  method: M,
  bytesMax = RAFT_FRAME_BYTES_MAX,
): M {
  const requestDeserialize = (bytes: Buffer): unknown => {
    if (bytes.length > bytesMax) return new BadFrame("oversized", `a frame of ${bytes.length} bytes`);
    try {
      return method.requestDeserialize(bytes);
    } catch (error) {
      return new BadFrame("malformed", `a frame that is not protobuf: ${(error as Error).message}`);
    }
  };
  return { ...method, requestDeserialize };
}
