import fs from "node:fs";
import { UserError } from "../../base/user-error.ts";
import { type DeviceReader, type Receive, readOnLoop, readOnPool } from "./device-reader.ts";
import type { ReadBuffers } from "./read-buffers.ts";

const DEVICE = "/dev/fuse";

/** "loop": requests are read on the event loop; "pool": by two threads of libuv's pool (the fallback). */
export type Engine = "loop" | "pool";

/** Opens the kernel's FUSE device; the descriptor is nothing until mount(2) was given it. */
export function openDevice(): number {
  try {
    // Blocking, as the pool's reads need it; the loop's stream makes it non-blocking by itself.
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

/** A mounted descriptor: requests come out, answers go in. */
export class Device {
  readonly fd: number;
  readonly engine: Engine;
  /** Resolves when nothing more comes: undefined after an unmount, else what went wrong. */
  readonly ended: Promise<Error | undefined>;
  readonly #reader: DeviceReader;
  readonly #stopped = Promise.withResolvers<undefined>();
  #closed = false;

  /** To be made after mount(2). The descriptor belongs to it. */
  constructor(fd: number, options: { buffers: ReadBuffers; receive: Receive; engine: Engine }) {
    const { buffers, receive, engine } = options;
    this.fd = fd;
    const onLoop = engine === "loop" ? readOnLoop(fd, buffers, receive) : undefined;
    this.engine = onLoop === undefined ? "pool" : "loop";
    this.#reader = onLoop ?? readOnPool(fd, buffers, receive);
    this.ended = Promise.race([this.#reader.ended, this.#stopped.promise]);
  }

  /** Says that it has ended though the kernel has not; requests still come, until close(). */
  stop(): void {
    this.#stopped.resolve(undefined);
  }

  /** Writes one answer. "gone": its request was taken back, or the mount is gone; "refused": the kernel took it for wrong. */
  send(reply: readonly Uint8Array[]): "sent" | "gone" | "refused" {
    if (this.#closed) return "gone";
    try {
      if (reply.length === 1) fs.writeSync(this.fd, reply[0]!);
      else fs.writevSync(this.fd, reply);
      return "sent";
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "EINVAL" ? "refused" : "gone";
    }
  }

  close(): void {
    this.#closed = true;
    this.#reader.close();
  }
}
