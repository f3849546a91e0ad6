import type { Logger } from "pino";
import { ERRNO, type ErrnoCode } from "../../core/errno.ts";
import type { Inode } from "../../core/ids.ts";
import type { Handlers, Result } from "../volume/handlers.ts";
import type { Sent } from "./device.ts";
import { WRITE_IN_BYTES } from "./file-operations.ts";
import { isDying } from "./interrupts.ts";
import { negotiate, putInit } from "./negotiation.ts";
import { type Context, type Held, type Operation, Request, uniqueKey } from "./operation.ts";
import { operationOf } from "./operations.ts";
import { type PendingRequest, PendingRequests } from "./pending-requests.ts";
import { FUSE_MAJOR, IN_HEADER_BYTES, OPCODE } from "./protocol.ts";
import type { ReadBuffers } from "./read-buffers.ts";
import { ReplyWriter } from "./reply-writer.ts";
import { RequestBody } from "./request-body.ts";

/** A WRITE up to this size is copied, so that 4 KiB in flight do not hold a buffer of 1 MiB. */
const COPIED_WRITE_BYTES_MAX = 64 * 1024;

export interface FuseConnectionOptions {
  readonly handlers: Handlers;
  readonly logger: Logger;
  readonly buffers: ReadBuffers;
  /** Hands a reply to the kernel. */
  readonly send: (reply: readonly Uint8Array[]) => Sent;
  readonly writeBytesMax: number;
  readonly requestDeadlineMs: number;
  readonly negativeEntryValidMs: number;
  /** Whether the thread that sent an interrupted request is being killed. Default: as /proc shows it; injected by tests. */
  readonly isDying?: (tid: number) => boolean;
}

/**
 * One connection with the kernel: decodes requests, calls their handlers, and answers each request exactly once, with
 * its handler's result or, when the request was given up, with an error.
 */
export class FuseConnection {
  /** Resolves once the protocol version and features are negotiated (FUSE_INIT). */
  readonly ready: Promise<void>;
  readonly #options: FuseConnectionOptions;
  readonly #context: Context;
  readonly #body = new RequestBody();
  readonly #out: ReplyWriter;
  readonly #pending: PendingRequests;
  #resolveReady!: () => void;
  #minor = 0;
  #draining = false;
  #ended = false;

  constructor(options: FuseConnectionOptions) {
    this.#options = options;
    this.#context = { handlers: options.handlers, negativeEntryValidMs: options.negativeEntryValidMs };
    this.#pending = new PendingRequests({
      logger: options.logger,
      deadlineMs: options.requestDeadlineMs,
      isDying: options.isDying ?? isDying,
      answer: (request, error) => this.#fail(request, ERRNO[error]),
    });
    this.#out = new ReplyWriter(options.writeBytesMax + 64 * 1024);
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve;
    });
  }

  /** The minor version of the protocol, once it is negotiated. */
  get minor(): number {
    return this.#minor;
  }

  /** Takes one request. True: the buffer is kept, and returned to the pool once the handler has finished. */
  receive(buffer: Buffer, bytes: number): boolean {
    if (bytes < IN_HEADER_BYTES) return false;
    const request = new Request(buffer);
    const body = this.#body;
    body.set(buffer, IN_HEADER_BYTES, bytes);
    switch (request.opcode) {
      case OPCODE.INIT:
        this.#negotiate(request, body);
        return false;
      case OPCODE.FORGET:
        this.#options.handlers.forget(request.inode, body.u64(0));
        return false;
      case OPCODE.BATCH_FORGET:
        this.#forgetMany(body);
        return false;
      case OPCODE.INTERRUPT:
        // With several readers it may have overtaken its request: after EAGAIN the kernel sends it again.
        if (!this.#pending.interrupt(uniqueKey(body.u32(0), body.u32(4)))) this.#fail(request, ERRNO.EAGAIN);
        return false;
      case OPCODE.NOTIFY_REPLY:
        return false;
      case OPCODE.DESTROY:
        this.#fail(request, 0);
        this.end();
        return false;
      case OPCODE.WRITE:
        return this.#receiveWrite(request, buffer, bytes);
      default:
        this.#run(operationOf(request.opcode), request);
        return false;
    }
  }

  /**
   * Resolves when all requests that hold these pages or names now are answered; undefined when there are none. It
   * always resolves: every request has a deadline.
   */
  released(inode: Inode, held: Held): Promise<void> | undefined {
    return this.#pending.released(inode, held);
  }

  /** Answers every pending and every later request with EIO, so that no thread in the kernel waits for this process. */
  drain(): void {
    this.#draining = true;
    this.#pending.giveUpAll("EIO");
  }

  /** The kernel has unmounted, or the descriptor is closed: no request follows. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.drain();
    this.#pending.close();
    this.#options.handlers.destroy();
  }

  #negotiate(request: Request, body: RequestBody): void {
    const negotiated = negotiate(body);
    if (negotiated.major < FUSE_MAJOR) {
      this.#fail(request, ERRNO.EINVAL);
      return;
    }
    this.#out.begin();
    putInit(this.#out, negotiated, this.#options.writeBytesMax);
    this.#send(request);
    this.#minor = negotiated.minor;
    if (negotiated.major === FUSE_MAJOR) this.#resolveReady();
  }

  #forgetMany(body: RequestBody): void {
    const count = body.u32(0);
    for (let at = 8; at < 8 + count * 16; at += 16) {
      this.#options.handlers.forget(body.u64(at) as Inode, body.u64(at + 8));
    }
  }

  /**
   * A handler may use the data until it finishes: small data is copied, for large data the buffer is kept that long.
   */
  #receiveWrite(request: Request, buffer: Buffer, bytes: number): boolean {
    const operation = operationOf(request.opcode);
    if (bytes - IN_HEADER_BYTES - WRITE_IN_BYTES <= COPIED_WRITE_BYTES_MAX) {
      this.#body.set(Buffer.from(buffer.subarray(IN_HEADER_BYTES, bytes)), 0, bytes - IN_HEADER_BYTES);
      this.#run(operation, request);
      return false;
    }
    const settled = this.#run(operation, request);
    settled?.then(() => this.#options.buffers.give(buffer));
    return settled !== undefined;
  }

  /**
   * Calls the handler. Undefined: the request is answered. A promise: resolves once the handler has finished, never
   * rejects.
   */
  #run(operation: Operation<unknown>, request: Request): Promise<void> | undefined {
    if (operation.refused !== undefined) {
      this.#fail(request, operation.refused);
      return undefined;
    }
    let result: Result<unknown> | Promise<Result<unknown>>;
    try {
      result =
        this.#draining && !isRelease(request.opcode) ? "EIO" : operation.call(this.#context, request, this.#body);
    } catch (error) {
      result = this.#bug(request, error);
    }
    if (!(result instanceof Promise)) {
      this.#settle(operation, request, result);
      return undefined;
    }
    const pending = this.#pending.add(operation, request);
    return result.then(
      (value) => this.#settleLater(pending, value),
      (error) => this.#settleLater(pending, this.#bug(request, error)),
    );
  }

  #settleLater(pending: PendingRequest, result: Result<unknown>): void {
    const { operation, request } = pending;
    if (!request.answered) this.#settle(operation, request, result);
    else this.#undo(operation, request, result);
    this.#pending.remove(pending);
  }

  /** The only place where a handler's result becomes a reply. */
  #settle(operation: Operation<unknown>, request: Request, result: Result<unknown>): void {
    const error = this.#encode(operation, request, result);
    if (error !== undefined) this.#fail(request, ERRNO[error]);
    if (error !== undefined || this.#send(request) === "gone") this.#undo(operation, request, result);
  }

  /** The result did not reach the kernel. */
  #undo(operation: Operation<unknown>, request: Request, result: Result<unknown>): void {
    if (typeof result === "string") return;
    try {
      operation.undo?.(this.#context, request, result);
    } catch (error) {
      this.#bug(request, error);
    }
  }

  #encode(operation: Operation<unknown>, request: Request, result: Result<unknown>): ErrnoCode | undefined {
    if (typeof result === "string") return result as ErrnoCode;
    this.#out.begin();
    try {
      return operation.encode(this.#out, result, request);
    } catch (error) {
      return this.#bug(request, error);
    }
  }

  #send(request: Request): "sent" | "gone" {
    const out = this.#out;
    const bytes = out.inlineSmall();
    const head = out.finish(request.uniqueLow, request.uniqueHigh, 0, bytes);
    request.answered = true;
    const sent = this.#options.send([head, ...out.attached]);
    if (typeof sent === "string") return sent;
    this.#options.logger.error(
      { opcode: request.opcode, inode: request.inode, error: sent.refused },
      "the kernel refused a reply: the request gets EIO",
    );
    this.#fail(request, ERRNO.EIO);
    return "gone";
  }

  #fail(request: Request, errno: number): void {
    request.answered = true;
    this.#out.begin();
    this.#options.send([this.#out.finish(request.uniqueLow, request.uniqueHigh, errno)]);
  }

  #bug(request: Request, error: unknown): ErrnoCode {
    this.#options.logger.error({ err: error, opcode: request.opcode, inode: request.inode }, "a handler threw");
    return "EIO";
  }
}

/** RELEASE and RELEASEDIR only free resources: their handlers are called even while all else is refused. */
function isRelease(opcode: number): boolean {
  return opcode === OPCODE.RELEASE || opcode === OPCODE.RELEASEDIR;
}
