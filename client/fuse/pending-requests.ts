import type { Logger } from "pino";
import type { ErrnoCode } from "../../core/errno.ts";
import type { Inode } from "../../core/ids.ts";
import type { Held, Operation, Request } from "./operation.ts";

/** How often the process of an interrupted request is checked again: a second signal causes no second INTERRUPT. */
const INTERRUPT_RECHECK_MS = 100;
const DEADLINE_CHECK_MS_MAX = 1000;

export interface PendingRequest {
  readonly operation: Operation<unknown>;
  readonly request: Request;
  /** Called once it is answered. */
  readonly waiters: (() => void)[];
}

export interface PendingRequestsOptions {
  readonly logger: Logger;
  readonly deadlineMs: number;
  /** Whether the thread that sent a request is being killed. */
  readonly isDying: (tid: number) => boolean;
  /** Answers a request with an error, in place of its handler. */
  readonly answer: (request: Request, error: ErrnoCode) => void;
}

/**
 * Requests whose handler has not finished. Those whose caller is killed, or whose deadline has passed, are given up:
 * they are answered with an error, and their handler is aborted.
 */
export class PendingRequests {
  readonly #options: PendingRequestsOptions;
  /** By `Request.key`, oldest first. */
  readonly #pending = new Map<number, PendingRequest>();
  readonly #interrupted = new Set<PendingRequest>();
  readonly #deadlineTimer: NodeJS.Timeout;
  #interruptTimer: NodeJS.Timeout | undefined;

  constructor(options: PendingRequestsOptions) {
    this.#options = options;
    const checkMs = Math.min(DEADLINE_CHECK_MS_MAX, Math.ceil(options.deadlineMs / 4));
    this.#deadlineTimer = setInterval(() => this.#checkDeadlines(), checkMs).unref();
  }

  add(operation: Operation<unknown>, request: Request): PendingRequest {
    const pending: PendingRequest = { operation, request, waiters: [] };
    request.deadlineMs = operation.blocking ? Number.POSITIVE_INFINITY : performance.now() + this.#options.deadlineMs;
    this.#pending.set(request.key, pending);
    return pending;
  }

  /** The handler has finished and the request is answered. */
  remove(pending: PendingRequest): void {
    this.#pending.delete(pending.request.key);
    this.#interrupted.delete(pending);
    for (const wake of pending.waiters) wake();
  }

  /** Resolves when all requests that hold these pages or names now are answered; undefined when there are none. */
  released(inode: Inode, held: Held): Promise<void> | undefined {
    const answered: Promise<void>[] = [];
    for (const { operation, request, waiters } of this.#pending.values()) {
      if (operation.holds !== held || request.direct || request.answered) continue;
      if (request.inode !== inode && request.secondInode !== inode) continue;
      answered.push(
        new Promise((resolve) => {
          waiters.push(resolve);
        }),
      );
    }
    return answered.length === 0 ? undefined : Promise.all(answered).then(() => undefined);
  }

  /** FUSE_INTERRUPT for the request with this key. Answers whether there is one. */
  interrupt(key: number): boolean {
    const pending = this.#pending.get(key);
    if (pending === undefined) return false;
    if (pending.operation.blocking || this.#options.isDying(pending.request.pid)) this.#giveUp(pending, "EINTR");
    else {
      this.#interrupted.add(pending);
      this.#interruptTimer ??= setInterval(() => this.#recheckInterrupted(), INTERRUPT_RECHECK_MS).unref();
    }
    return true;
  }

  giveUpAll(error: ErrnoCode): void {
    for (const pending of this.#pending.values()) this.#giveUp(pending, error);
  }

  /** Ends the timers. */
  close(): void {
    clearInterval(this.#deadlineTimer);
    clearInterval(this.#interruptTimer);
  }

  #giveUp(pending: PendingRequest, error: ErrnoCode): void {
    const { request } = pending;
    this.#interrupted.delete(pending);
    if (request.answered) return;
    this.#options.answer(request, error);
    request.abort(error);
    for (const wake of pending.waiters) wake();
  }

  #recheckInterrupted(): void {
    for (const pending of this.#interrupted) {
      if (this.#options.isDying(pending.request.pid)) this.#giveUp(pending, "EINTR");
    }
    if (this.#interrupted.size > 0) return;
    clearInterval(this.#interruptTimer);
    this.#interruptTimer = undefined;
  }

  #checkDeadlines(): void {
    const nowMs = performance.now();
    for (const pending of this.#pending.values()) {
      const { request } = pending;
      if (request.answered || request.deadlineMs === Number.POSITIVE_INFINITY) continue;
      if (request.deadlineMs > nowMs) return;
      this.#options.logger.warn(
        { opcode: request.opcode, inode: request.inode, afterMs: this.#options.deadlineMs },
        "a request was not answered in time",
      );
      this.#giveUp(pending, "ETIMEDOUT");
    }
  }
}
