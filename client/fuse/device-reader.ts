import fs from "node:fs";
import net from "node:net";
import type { ReadBuffers } from "./read-buffers.ts";

/** Takes one request. True: it keeps the buffer, and gives it back to the pool itself. */
export type Receive = (buffer: Buffer, bytes: number) => boolean;

export interface DeviceReader {
  /** Resolves when the connection has ended (unmounted); with an error when it ended otherwise. */
  readonly ended: Promise<Error | undefined>;
  /** Reads no more and closes the descriptor, which it owns. */
  close(): void;
}

/** "Again": a request that was taken back while it was copied (ENOENT), a signal, nothing there. */
const AGAIN = new Set(["EINTR", "EAGAIN", "ENOENT"]);
/** The ways in which the kernel says that there is no mount any more. */
const UNMOUNTED = new Set(["ENODEV", "ECONNABORTED"]);

/** What libuv's stream handle offers of what is needed here; Node has no public name for it. */
interface StreamHandle {
  open(fd: number): number;
  close(done?: () => void): void;
  readStop(): number;
}
type StreamHandleClass = new (type: number) => StreamHandle;
const PIPE_SOCKET = 0;

/** The class of the handle behind a socket of the Unix domain; undefined where this Node has none that fits. */
function streamHandleClass(): StreamHandleClass | undefined {
  const socket = net.connect({ path: "/dev/null/none" }) as net.Socket & { _handle?: object };
  socket.on("error", () => {});
  const handleClass = socket._handle?.constructor as StreamHandleClass | undefined;
  socket.destroy();
  return typeof handleClass?.prototype?.open === "function" ? handleClass : undefined;
}

/**
 * Reads requests on the event loop: libuv's stream over the descriptor, one read(2) a request, no thread between.
 * To be made after mount(2): before, read gives EPERM. Undefined where the stream cannot be had.
 */
export function readOnLoop(fd: number, buffers: ReadBuffers, receive: Receive): DeviceReader | undefined {
  const handleClass = streamHandleClass();
  if (handleClass === undefined) return undefined;
  const ended = Promise.withResolvers<Error | undefined>();
  let closed = false;
  let release: () => void;

  const attach = () => {
    const handle = new handleClass(PIPE_SOCKET);
    if (handle.open(fd) !== 0) return false;
    const { close } = handle;
    release = () => close.call(handle);
    // An error destroys the socket; the descriptor lives until close(): answers and notifications are written to it.
    handle.close = (done) => {
      handle.readStop();
      if (done !== undefined) setImmediate(done);
    };
    let buffer: Buffer | undefined;
    const next = () => {
      if (buffer !== undefined) return undefined; // the same again
      buffer = buffers.take();
      return buffer;
    };
    const callback = (bytes: number, taken: Uint8Array) => {
      if (receive(taken as Buffer, bytes)) buffer = undefined;
      return !closed;
    };
    const socket = new net.Socket({ handle, writable: false, onread: { buffer: next, callback } } as never);
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const again = AGAIN.has(error.code ?? "") && !closed && attach();
      if (!again) ended.resolve(UNMOUNTED.has(error.code ?? "") ? undefined : error);
    });
    socket.on("end", () => ended.resolve(undefined));
    return true;
  };

  if (!attach()) return undefined;
  return {
    ended: ended.promise,
    close() {
      if (closed) return;
      closed = true;
      release();
      ended.resolve(undefined);
    },
  };
}

/** Outstanding reads of the thread pool's four threads; each waits in the kernel, so the descriptor must block. */
const POOL_READS = 2;

/** The fallback: reads by the thread pool. Slower, and it needs nothing but `fs.read`. */
export function readOnPool(fd: number, buffers: ReadBuffers, receive: Receive): DeviceReader {
  const ended = Promise.withResolvers<Error | undefined>();
  let closed = false;

  const readNext = (buffer: Buffer) => {
    if (closed) return;
    fs.read(fd, buffer, 0, buffer.length, null, (error, bytes) => {
      if (error === null && bytes > 0) return readNext(receive(buffer, bytes) ? buffers.take() : buffer);
      if (AGAIN.has(error?.code ?? "")) return setImmediate(readNext, buffer);
      ended.resolve(error === null || UNMOUNTED.has(error.code ?? "") ? undefined : error);
    });
  };
  for (let read = 0; read < POOL_READS; read++) readNext(buffers.take());
  return {
    ended: ended.promise,
    close() {
      if (closed) return;
      closed = true;
      fs.closeSync(fd);
      ended.resolve(undefined);
    },
  };
}
