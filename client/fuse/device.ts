import fs from "node:fs";
import { UserError } from "../../base/user-error.ts";
import { type DeviceReader, type Receive, readOnLoop, readOnPool } from "./device-reader.ts";
import type { ReadBuffers } from "./read-buffers.ts";

const DEVICE = "/dev/fuse";

/** What became of a reply. "gone": its request was aborted, or the mount is gone; `refused`: the errno's name. */
export type Sent = "sent" | "gone" | { readonly refused: string };

/**
 * Errors of a write(2) that mean that the kernel does not wait for this reply: the request was aborted (ENOENT), or the
 * connection is gone. After any other error it still waits, or has failed the request by itself.
 */
const GONE = new Set(["ENOENT", "ENODEV", "EPERM", "ENOTCONN", "ECONNABORTED"]);

/** Where requests are read: "loop", on the event loop; "pool", in two threads of libuv's pool (the fallback). */
export type Engine = "loop" | "pool";

/** Opens the kernel's FUSE device. The descriptor has no connection until it is passed to mount(2). */
export function openDevice(): number {
  try {
    // In blocking mode, as the pool's reads need it; the stream of the loop switches it to non-blocking itself.
    return fs.openSync(DEVICE, fs.constants.O_RDWR);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENXIO" || code === "ENODEV") {
      throw new UserError(
        `${DEVICE} is missing: load the kernel module (modprobe fuse), in a container add --device ${DEVICE} --cap-add SYS_ADMIN`,
        1,
        { cause },
      );
    }
    if (code === "EACCES" || code === "EPERM") {
      throw new UserError(
        `${DEVICE} may not be opened: mount as root, in a container with --device ${DEVICE} --cap-add SYS_ADMIN`,
        1,
        { cause },
      );
    }
    throw cause;
  }
}

/** The descriptor of a mounted file system: requests are read from it, replies are written to it. */
export class Device {
  readonly fd: number;
  readonly engine: Engine;
  /** Resolves to undefined after an unmount or stop(), or to the error that ended the connection. Never rejects. */
  readonly ended: Promise<Error | undefined>;
  readonly #reader: DeviceReader;
  readonly #stopped = Promise.withResolvers<undefined>();
  #closed = false;

  /** Owns the descriptor, which must have been passed to mount(2) before. */
  constructor(fd: number, options: { buffers: ReadBuffers; receive: Receive; engine: Engine }) {
    const { buffers, receive, engine } = options;
    this.fd = fd;
    const onLoop = engine === "loop" ? readOnLoop(fd, buffers, receive) : undefined;
    this.engine = onLoop === undefined ? "pool" : "loop";
    this.#reader = onLoop ?? readOnPool(fd, buffers, receive);
    this.ended = Promise.race([this.#reader.ended, this.#stopped.promise]);
  }

  /** Resolves `ended` although the kernel still holds the connection. Requests keep arriving until close(). */
  stop(): void {
    this.#stopped.resolve(undefined);
  }

  /**
   * Writes one reply, its parts in order. Refused as malformed (EINVAL), or for want of memory: a writev(2) of more than
   * eight parts allocates (ENOMEM).
   */
  send(reply: readonly Uint8Array[]): Sent {
    if (this.#closed) return "gone";
    try {
      if (reply.length === 1) fs.writeSync(this.fd, reply[0]!);
      else fs.writevSync(this.fd, reply);
      return "sent";
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error);
      return GONE.has(code) ? "gone" : { refused: code };
    }
  }

  close(): void {
    this.#closed = true;
    this.#reader.close();
  }
}
