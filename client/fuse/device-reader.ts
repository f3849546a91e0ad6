import fs from "node:fs";
import net from "node:net";
import type { ReadBuffers } from "./read-buffers.ts";

/** Takes one request. True: the receiver keeps the buffer, and returns it to the pool itself. */
export type Receive = (buffer: Buffer, bytes: number) => boolean;

export interface DeviceReader {
  /** Resolves to undefined after an unmount, or to the error that ended the connection. Never rejects. */
  readonly ended: Promise<Error | undefined>;
  /** Stops reading and closes the descriptor, which the reader owns. */
  close(): void;
}

/**
 * Errors after which to read again. ENOENT: the request was interrupted while it was copied (as in libfuse,
 * lib/fuse_lowlevel.c).
 */
const AGAIN = new Set(["EINTR", "EAGAIN", "ENOENT"]);
/** The mount is gone: unmounted (ENODEV) or aborted (ECONNABORTED). */
const UNMOUNTED = new Set(["ENODEV", "ECONNABORTED"]);

/** The part of Node's internal stream handle (libuv's uv_stream_t) that is used here; it has no public type. */
interface StreamHandle {
  open(fd: number): number;
  close(done?: () => void): void;
  readStop(): number;
}
type StreamHandleClass = new (type: number) => StreamHandle;
const PIPE_SOCKET = 0;

/** The class of the handle behind a Unix domain socket; undefined where this version of Node has no such class. */
function streamHandleClass(): StreamHandleClass | undefined {
  const socket = net.connect({ path: "/dev/null/none" }) as net.Socket & { _handle?: object };
  socket.on("error", () => {});
  const handleClass = socket._handle?.constructor as StreamHandleClass | undefined;
  socket.destroy();
  return typeof handleClass?.prototype?.open === "function" ? handleClass : undefined;
}

/**
 * Reads requests on the event loop: a libuv stream over the descriptor, one read(2) per request, no thread in between.
 * Call it after mount(2): before that, read(2) fails with EPERM. Undefined where Node offers no such stream.
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
    // An error destroys the socket, but the descriptor must stay open until close(): replies and notifications use it.
    handle.close = (done) => {
      handle.readStop();
      if (done !== undefined) setImmediate(done);
    };
    let buffer: Buffer | undefined;
    const next = () => {
      if (buffer !== undefined) return undefined; // keep using the current buffer
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

/** Of the pool's four threads. Each waits in read(2), so the descriptor must be in blocking mode. */
const POOL_READS = 2;

/** The fallback: reads in libuv's thread pool. Slower, but it needs nothing beyond `fs.read`. */
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
