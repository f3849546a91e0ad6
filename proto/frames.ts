import type { RefusalKind } from "./refusals.ts";

/** For the options of the gRPC server that carries the handlers, too. An entry is at most 8 MiB. */
export const RAFT_FRAME_BYTES_MAX = 16 << 20;

/** Comes in the place of a frame that cannot be read. */
export class BadFrame {
  readonly kind: RefusalKind;
  readonly line: string;

  constructor(kind: RefusalKind, line: string) {
    this.kind = kind;
    this.line = line;
  }
}

/** The same method, whose receiver is given a BadFrame for what is not protobuf, or larger than any frame that is sent. */
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
