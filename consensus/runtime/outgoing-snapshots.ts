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
  /** How long a snapshot whose transfer broke is kept for the next try. It holds the log and the store's old files. */
  readonly keepMs: number;
}

const LOGGED_EVERY_PARTS = 64;

/** The snapshots on their way to members whose next entry was cut. One a member. */
export class OutgoingSnapshots {
  readonly #options: OutgoingOptions;
  readonly #living = new Map<number, OutgoingSnapshot>();
  /** Those of which a try is under way: its stream reads from the snapshot. */
  readonly #trying = new Set<number>();
  /** Indexes from which the log stays: what follows a snapshot is needed once it has arrived. */
  readonly #pins = new Map<number, number>();

  constructor(options: OutgoingOptions) {
    this.#options = options;
  }

  get pins(): readonly number[] {
    return [...this.#pins.values()];
  }

  /** How much of a snapshot a member has taken; undefined when none is on its way. */
  bytesTo(member: number): number | undefined {
    return this.#living.get(member)?.bytesTaken;
  }

  /**
   * Goes on with what is left of a broken transfer, or begins.
   * @returns the index up to which the member has everything now
   */
  async send(to: number): Promise<number> {
    if (this.#trying.has(to)) throw new Error("an earlier try is still under way"); // of another term of this leader
    this.#trying.add(to);
    try {
      return await this.#try(to);
    } finally {
      this.#trying.delete(to);
    }
  }

  async #try(to: number): Promise<number> {
    const { raft, transport, logger } = this.#options;
    const snapshot = this.#living.get(to) ?? (await this.#begin(to));
    const { at } = snapshot.position;
    logger.info({ to, at: at.index, parts: snapshot.partsTaken, bytes: snapshot.bytesTaken }, "raft: sends a snapshot");
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

  /** For the next try; not for ever, if none comes any further. */
  #keep(to: number, snapshot: OutgoingSnapshot): void {
    const { timers, keepMs } = this.#options;
    const { partsTaken } = snapshot;
    timers.after(keepMs, () => {
      if (snapshot.partsTaken !== partsTaken || this.#living.get(to) !== snapshot) return;
      if (this.#trying.has(to)) this.#keep(to, snapshot);
      else void this.#end(to, snapshot);
    });
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#living].map(([to, snapshot]) => this.#end(to, snapshot)));
  }

  async #begin(to: number): Promise<OutgoingSnapshot> {
    const { raft, machine, random, logger } = this.#options;
    const { term, log } = raft;
    this.#pins.set(to, log.base.index); // until it is known where the snapshot stands
    try {
      const taken = await machine.snapshot();
      const entryTerm = log.term(taken.index);
      if (entryTerm === undefined || raft.term !== term) {
        await taken.release();
        throw new Error("leadership changed before it was begun");
      }
      const position = {
        at: { index: taken.index, term: entryTerm },
        configuration: log.configurationAt(taken.index),
      };
      const snapshot = new OutgoingSnapshot(taken, position, Math.floor(random() * 2 ** 48), (parts, bytes) => {
        if (parts % LOGGED_EVERY_PARTS === 0) logger.info({ to, parts, bytes }, "raft: snapshot under way");
      });
      this.#pins.set(to, taken.index);
      this.#living.set(to, snapshot);
      return snapshot;
    } catch (error) {
      this.#pins.delete(to);
      throw error;
    }
  }

  async #end(to: number, snapshot: OutgoingSnapshot): Promise<void> {
    if (this.#living.get(to) !== snapshot) return;
    this.#living.delete(to);
    this.#pins.delete(to);
    await snapshot.release();
  }
}

/** One consistent read of the store, given out once, with what is not yet confirmed held for another try. */
class OutgoingSnapshot {
  readonly position: SnapshotPosition;
  partsTaken = 0;
  bytesTaken = 0;
  readonly #snapshot: MachineSnapshot;
  readonly #transfer: number;
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #onTaken: (parts: number, bytes: number) => void;
  /** Those from number partsTaken on. */
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
      if (part < this.partsTaken) throw new RangeError(`part ${part} of a snapshot is not held any more`);
      while (part - this.partsTaken >= this.#held.length && !this.#isAtEnd) await this.#read();
      const bytes = this.#held[part - this.partsTaken];
      if (bytes === undefined) return;
      yield bytes;
    }
  }

  /** A try that was given up may have left a read under way: its part counts. */
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
