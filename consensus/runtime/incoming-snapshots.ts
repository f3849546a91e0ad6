import type { Logger } from "pino";
import type { Refusals } from "../../proto/refusals.ts";
import type { StateMachine } from "../group.ts";
import type { LogStore } from "../log-store.ts";
import type { SnapshotPosition } from "../raft/input.ts";
import type { LogPosition } from "../raft/messages.ts";
import type { Raft } from "../raft/raft.ts";
import type { SnapshotHeader, SnapshotIntake } from "../transport/transport.ts";
import { installSnapshot } from "./install-snapshot.ts";
import type { Timers } from "./timers.ts";

export interface IncomingOptions {
  readonly raft: Raft;
  readonly log: LogStore;
  readonly machine: StateMachine;
  readonly timers: Timers;
  readonly logger: Logger;
  /** How long an interrupted transfer can be resumed. Nothing is appended to the log meanwhile. */
  readonly keepMs: number;
  /** Resolves when nothing is being written to the log. */
  readonly idle: () => Promise<void>;
  /** The leader has applied everything up to here. */
  readonly onCommitted: (at: LogPosition) => void;
  readonly onRestoring: (from: number, term: number) => void;
  /** The snapshot is installed; undefined: it failed, and nothing has changed. */
  readonly onRestored: (to: SnapshotPosition | undefined) => void;
  /** The disk failed. */
  readonly onFatal: (error: Error) => void;
  readonly refusals: Refusals;
}

/** The snapshot that this member is receiving, if there is one. */
export class IncomingSnapshots {
  readonly #options: IncomingOptions;
  #current: IncomingSnapshot | undefined;

  constructor(options: IncomingOptions) {
    this.#options = options;
  }

  /** Resolves when the current installation has ended; undefined when there is none. */
  get installing(): Promise<void> | undefined {
    return this.#current?.ended;
  }

  /** @returns undefined when this member does not need it. @throws when it cannot be taken now */
  receive(from: number, header: SnapshotHeader): SnapshotIntake | undefined {
    const { raft, logger, timers, keepMs } = this.#options;
    if (header.term < raft.term) throw new Error(`term ${header.term} is over`);
    // §5.1: a log that holds the snapshot's last entry needs its commit index alone. The entries after it stay: this member
    // may have acknowledged them.
    this.#options.onCommitted(header.at);
    if (header.at.index <= raft.log.commit) return undefined;
    const current = this.#current;
    if (current !== undefined) {
      if (current.isOf(from, header)) return current.connect();
      current.fail(new Error("another snapshot replaces it")); // its sender retries
      throw new Error("busy");
    }
    const snapshot = new IncomingSnapshot(from, header, (expire) => timers.after(keepMs, expire));
    this.#current = snapshot;
    logger.info({ from, at: header.at.index }, "raft: receiving a snapshot");
    this.#options.onRestoring(from, header.term);
    snapshot.ended = this.#install(snapshot);
    return snapshot.connect();
  }

  /** Its sender is no longer the leader, or this member stops. */
  abort(why: string): void {
    this.#current?.fail(new Error(why));
  }

  /** After every turn: aborts if the leader has changed. */
  check(): void {
    const { leader } = this.#options.raft;
    if (leader !== 0 && leader !== this.#current?.from) this.abort("another member is the leader");
  }

  async #install(snapshot: IncomingSnapshot): Promise<void> {
    const { log, machine, idle, onRestored, onFatal, logger } = this.#options;
    const { header } = snapshot;
    let to: SnapshotPosition | undefined;
    let failure: Error | undefined;
    try {
      await idle();
      await installSnapshot(log, machine, header, snapshot.parts(), onFatal);
      to = header;
      logger.info({ from: snapshot.from, at: header.at.index, parts: snapshot.count }, "raft: snapshot installed");
    } catch (error) {
      const reason = (error as Error).message;
      logger.warn({ from: snapshot.from, at: header.at.index, reason }, "raft: snapshot not installed");
      failure = error as Error;
      if (error instanceof RangeError) this.#options.refusals.note("snapshot", snapshot.from, reason);
    }
    this.#current = undefined;
    onRestored(to);
    snapshot.settle(failure);
  }
}

/**
 * Passes the parts of one snapshot from its stream to the machine, one at a time. A broken stream may be succeeded by
 * another.
 */
class IncomingSnapshot {
  readonly from: number;
  readonly header: SnapshotHeader;
  ended: Promise<void> = Promise.resolve();
  /** Parts received. */
  count = 0;
  readonly #startTimer: (expire: () => void) => () => void;
  readonly #installed = Promise.withResolvers<void>();
  #failure: Error | undefined;
  #part: Uint8Array | undefined;
  #isComplete = false;
  /** Set while the machine waits for a part. */
  #wakeReader: (() => void) | undefined;
  /** Streams waiting for the machine to store their part. */
  #writers: (() => void)[] = [];
  #connection = 0;
  #cancelTimer: () => void = () => undefined;

  constructor(from: number, header: SnapshotHeader, startTimer: (expire: () => void) => () => void) {
    this.from = from;
    this.header = header;
    this.#startTimer = startTimer;
    this.#installed.promise.catch(() => undefined);
  }

  isOf(from: number, { transfer }: SnapshotHeader): boolean {
    return from === this.from && transfer === this.header.transfer && this.#failure === undefined;
  }

  /** A new stream replaces the previous one. */
  connect(): SnapshotIntake {
    const connection = ++this.#connection;
    this.#cancelTimer();
    const check = () => {
      if (connection !== this.#connection) throw new Error("another stream resumed this snapshot");
      if (this.#failure !== undefined) throw this.#failure;
    };
    return {
      at: this.count,
      take: async (part) => {
        check();
        while (this.#part !== undefined) await this.#roomOrFailure(check);
        this.#part = part;
        this.count++;
        this.#wakeReader?.();
        while (this.#part !== undefined) await this.#roomOrFailure(check);
      },
      finish: async (parts) => {
        check();
        if (parts !== this.count) {
          this.fail(new RangeError(`received ${this.count} parts of a snapshot of ${parts}`));
        }
        this.#isComplete = true;
        this.#wakeReader?.();
        await this.#installed.promise;
      },
      disconnected: () => {
        if (connection !== this.#connection || this.#isComplete) return;
        this.#cancelTimer = this.#startTimer(() =>
          this.fail(new Error("its stream broke and was not resumed in time")),
        );
      },
    };
  }

  fail(error: Error): void {
    if (this.#failure !== undefined || this.#isComplete) return;
    this.#failure = error;
    this.#cancelTimer();
    this.#wakeReader?.();
    this.#wakeWriters();
  }

  /** After the end: answers the waiting streams. */
  settle(failure: Error | undefined): void {
    this.#cancelTimer();
    this.#failure ??= failure;
    if (this.#failure === undefined) this.#installed.resolve();
    else this.#installed.reject(this.#failure);
    this.#wakeWriters();
  }

  async *parts(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const part = this.#part;
      if (part !== undefined) {
        yield part; // the machine asks for the next one: it has stored this one
        this.#part = undefined;
        this.#wakeWriters();
      } else if (this.#isComplete) return;
      else
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve;
        });
    }
  }

  async #roomOrFailure(check: () => void): Promise<void> {
    await new Promise<void>((resolve) => this.#writers.push(resolve));
    check();
  }

  #wakeWriters(): void {
    for (const wake of this.#writers.splice(0)) wake();
  }
}
