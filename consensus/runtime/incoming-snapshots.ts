import type { Logger } from "pino";
import type { Refusals } from "../../proto/refusals.ts";
import type { StateMachine } from "../group.ts";
import type { LogStore } from "../log-store.ts";
import type { SnapshotPosition } from "../raft/input.ts";
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
  /** How long what has come of a broken transfer is kept. Nothing is appended here meanwhile. */
  readonly keepMs: number;
  /** Resolves when nothing is being written to the log. */
  readonly idle: () => Promise<void>;
  readonly onRestoring: (from: number, term: number) => void;
  /** It is in place; undefined: all is as it was. */
  readonly onRestored: (to: SnapshotPosition | undefined) => void;
  readonly onBroken: (error: Error) => void;
  readonly refusals: Refusals;
}

/** The snapshot on its way to this member, if there is one. */
export class IncomingSnapshots {
  readonly #options: IncomingOptions;
  #current: IncomingSnapshot | undefined;

  constructor(options: IncomingOptions) {
    this.#options = options;
  }

  /** Resolves when none is being put in place any more; undefined when none is. */
  get installing(): Promise<void> | undefined {
    return this.#current?.ended;
  }

  receive(from: number, header: SnapshotHeader): SnapshotIntake | undefined {
    const { raft, logger, timers, keepMs } = this.#options;
    if (header.term < raft.term) throw new Error(`term ${header.term} is over`);
    if (header.at.index <= raft.log.commit) return undefined; // it has all that, and a log that goes on from there
    const current = this.#current;
    if (current !== undefined) {
      if (current.isOf(from, header)) return current.connect();
      current.fail(new Error("another snapshot has come")); // the sender of that one asks again
      throw new Error("busy");
    }
    const snapshot = new IncomingSnapshot(from, header, (give) => timers.after(keepMs, give));
    this.#current = snapshot;
    logger.info({ from, at: header.at.index }, "raft: receives a snapshot");
    this.#options.onRestoring(from, header.term);
    snapshot.ended = this.#install(snapshot);
    return snapshot.connect();
  }

  /** Its sender leads no more, or this member stops. */
  giveUp(why: string): void {
    this.#current?.fail(new Error(why));
  }

  /** To be asked after every turn. */
  check(): void {
    const { leader } = this.#options.raft;
    if (leader !== 0 && leader !== this.#current?.from) this.giveUp("another member leads");
  }

  async #install(snapshot: IncomingSnapshot): Promise<void> {
    const { log, machine, idle, onRestored, onBroken, logger } = this.#options;
    const { header } = snapshot;
    let to: SnapshotPosition | undefined;
    let failure: Error | undefined;
    try {
      await idle();
      await installSnapshot(log, machine, header, snapshot.parts(), onBroken);
      to = header;
      logger.info({ from: snapshot.from, at: header.at.index, parts: snapshot.count }, "raft: snapshot in place");
    } catch (error) {
      const reason = (error as Error).message;
      logger.warn({ from: snapshot.from, at: header.at.index, reason }, "raft: a snapshot was not taken");
      failure = error as Error;
      if (error instanceof RangeError) this.#options.refusals.note("snapshot", snapshot.from, reason);
    }
    this.#current = undefined;
    onRestored(to);
    snapshot.settle(failure);
  }
}

/** Parts handed from stream to machine one by one; streams may break and follow each other. */
class IncomingSnapshot {
  readonly from: number;
  readonly header: SnapshotHeader;
  ended: Promise<void> = Promise.resolve();
  /** Parts that have come. */
  count = 0;
  readonly #startTimer: (giveUp: () => void) => () => void;
  readonly #installed = Promise.withResolvers<void>();
  #failure: Error | undefined;
  #part: Uint8Array | undefined;
  #isComplete = false;
  /** The machine waits for a part; the stream waits for the machine. */
  #wakeReader: (() => void) | undefined;
  #writers: (() => void)[] = [];
  #connection = 0;
  #cancelTimer: () => void = () => undefined;

  constructor(from: number, header: SnapshotHeader, startTimer: (giveUp: () => void) => () => void) {
    this.from = from;
    this.header = header;
    this.#startTimer = startTimer;
    this.#installed.promise.catch(() => undefined);
  }

  isOf(from: number, { transfer }: SnapshotHeader): boolean {
    return from === this.from && transfer === this.header.transfer && this.#failure === undefined;
  }

  /** A stream that comes takes the place of the one before. */
  connect(): SnapshotIntake {
    const connection = ++this.#connection;
    this.#cancelTimer();
    const check = () => {
      if (connection !== this.#connection) throw new Error("another stream goes on with this snapshot");
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
          this.fail(new RangeError(`a snapshot of ${parts} parts came with ${this.count}`));
        }
        this.#isComplete = true;
        this.#wakeReader?.();
        await this.#installed.promise;
      },
      broke: () => {
        if (connection !== this.#connection || this.#isComplete) return;
        this.#cancelTimer = this.#startTimer(() => this.fail(new Error("it broke off and did not go on")));
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

  /** After the end: tells the streams that wait. */
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
        yield part; // asked for the next: this one is put away
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
