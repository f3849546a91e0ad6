import type { Logger } from "pino";
import type { MachineSnapshot, StateMachine } from "../group.ts";
import type { SnapshotPosition } from "../raft/input.ts";
import type { Raft } from "../raft/raft.ts";
import { type SnapshotHeader, SnapshotRefused, type SnapshotSource, type Transport } from "../transport/transport.ts";
import type { Timers } from "./timers.ts";

export interface OutgoingOptions {
  readonly raft: Raft;
  readonly machine: StateMachine;
  readonly transport: Transport;
  readonly timers: Timers;
  readonly random: () => number;
  readonly logger: Logger;
  /** How long a snapshot is kept after its transfer broke. It retains the log after it, and old files of the store. */
  readonly keepMs: number;
}

const LOGGED_EVERY_PARTS = 64;

/** The snapshots that are being sent to members whose next entry was compacted: at most one per member. */
export class OutgoingSnapshots {
  readonly #options: OutgoingOptions;
  readonly #current = new Map<number, OutgoingSnapshot>();
  /** Members with an attempt under way: its stream reads from the snapshot. */
  readonly #sending = new Set<number>();
  /** By member: the index after which the log must stay, since those entries follow the snapshot. */
  readonly #pins = new Map<number, number>();

  constructor(options: OutgoingOptions) {
    this.#options = options;
  }

  get pins(): readonly number[] {
    return [...this.#pins.values()];
  }

  /** How much of its snapshot a member has stored; undefined when none is under way. */
  bytesTo(member: number): number | undefined {
    return this.#current.get(member)?.bytesTaken;
  }

  /**
   * Resumes an interrupted transfer, or starts one.
   * @returns the index of the snapshot, once it is installed
   * @throws SnapshotRefused by the receiver, RangeError when it cannot be resumed, or what broke the stream
   */
  async send(to: number): Promise<number> {
    // Under way since an earlier term of this leader.
    if (this.#sending.has(to)) throw new Error("an earlier attempt is still under way");
    this.#sending.add(to);
    try {
      return await this.#attempt(to);
    } finally {
      this.#sending.delete(to);
    }
  }

  async #attempt(to: number): Promise<number> {
    const { raft, transport, logger } = this.#options;
    const snapshot = this.#current.get(to) ?? (await this.#begin(to));
    const { at } = snapshot.position;
    logger.info(
      { to, at: at.index, parts: snapshot.partsTaken, bytes: snapshot.bytesTaken },
      "raft: sending a snapshot",
    );
    try {
      await transport.sendSnapshot(to, snapshot.source(raft.term));
      logger.info({ to, at: at.index, parts: snapshot.partsTaken, bytes: snapshot.bytesTaken }, "raft: snapshot sent");
    } catch (error) {
      if (error instanceof SnapshotRefused || error instanceof RangeError) await this.#end(to, snapshot);
      else this.#keep(to, snapshot);
      throw error;
    }
    await this.#end(to, snapshot);
    return at.index;
  }

  /** Kept for the next attempt, until keepMs have passed without progress. */
  #keep(to: number, snapshot: OutgoingSnapshot): void {
    const { timers, keepMs } = this.#options;
    const { partsTaken } = snapshot;
    timers.after(keepMs, () => {
      if (snapshot.partsTaken !== partsTaken || this.#current.get(to) !== snapshot) return;
      if (this.#sending.has(to)) this.#keep(to, snapshot);
      else void this.#end(to, snapshot);
    });
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#current].map(([to, snapshot]) => this.#end(to, snapshot)));
  }

  async #begin(to: number): Promise<OutgoingSnapshot> {
    const { raft, machine, random, logger } = this.#options;
    const { term, log } = raft;
    this.#pins.set(to, log.base.index); // until the index of the snapshot is known
    try {
      const taken = await machine.snapshot();
      const entryTerm = log.term(taken.index);
      if (entryTerm === undefined || raft.term !== term) {
        await taken.release();
        throw new Error("leadership changed before the transfer started");
      }
      const position = {
        at: { index: taken.index, term: entryTerm },
        configuration: log.configurationAt(taken.index),
      };
      const snapshot = new OutgoingSnapshot(taken, position, Math.floor(random() * 2 ** 48), (parts, bytes) => {
        if (parts % LOGGED_EVERY_PARTS === 0) logger.info({ to, parts, bytes }, "raft: snapshot under way");
      });
      this.#pins.set(to, taken.index);
      this.#current.set(to, snapshot);
      return snapshot;
    } catch (error) {
      this.#pins.delete(to);
      throw error;
    }
  }

  async #end(to: number, snapshot: OutgoingSnapshot): Promise<void> {
    if (this.#current.get(to) !== snapshot) return;
    this.#current.delete(to);
    this.#pins.delete(to);
    await snapshot.release();
  }
}

/** One snapshot of the machine. It can be read only once, so parts are held until the receiver has stored them. */
class OutgoingSnapshot {
  readonly position: SnapshotPosition;
  partsTaken = 0;
  bytesTaken = 0;
  readonly #snapshot: MachineSnapshot;
  readonly #transfer: number;
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #onTaken: (parts: number, bytes: number) => void;
  /** Parts read but not stored by the receiver: from number partsTaken on. */
  #held: Uint8Array[] = [];
  #reading: Promise<void> | undefined;
  #isAtEnd = false;

  constructor(
    snapshot: MachineSnapshot,
    position: SnapshotPosition,
    transfer: number,
    onTaken: (parts: number, bytes: number) => void,
  ) {
    this.#snapshot = snapshot;
    this.position = position;
    this.#transfer = transfer;
    this.#iterator = snapshot.parts[Symbol.asyncIterator]();
    this.#onTaken = onTaken;
  }

  source(term: number): SnapshotSource {
    const header: SnapshotHeader = { ...this.position, term, transfer: this.#transfer };
    return { header, parts: (from) => this.#parts(from), taken: (parts) => this.#taken(parts) };
  }

  async release(): Promise<void> {
    await this.#reading?.catch(() => undefined);
    await this.#iterator.return?.();
    await this.#snapshot.release();
  }

  async *#parts(from: number): AsyncGenerator<Uint8Array> {
    for (let part = from; ; part++) {
      if (part < this.partsTaken) throw new RangeError(`part ${part} of the snapshot is no longer held`);
      while (part - this.partsTaken >= this.#held.length && !this.#isAtEnd) await this.#read();
      const bytes = this.#held[part - this.partsTaken];
      if (bytes === undefined) return;
      yield bytes;
    }
  }

  /** An abandoned attempt may have left a read under way: its part is used too. */
  #read(): Promise<void> {
    this.#reading ??= this.#iterator.next().then(({ done, value }) => {
      this.#reading = undefined;
      if (done === true) this.#isAtEnd = true;
      else this.#held.push(value);
    });
    return this.#reading;
  }

  #taken(parts: number): void {
    for (const part of this.#held.splice(0, parts - this.partsTaken)) {
      this.partsTaken++;
      this.bytesTaken += part.length;
      this.#onTaken(this.partsTaken, this.bytesTaken);
    }
  }
}
