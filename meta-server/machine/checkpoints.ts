import { checkpointKey, decodeRecord, encodeRecord } from "./local-keys.ts";

/** A checkpoint is kept at each multiple of this sequence. Every region knows its state hash there. */
export const CHECKPOINT_EVERY = 256;

/** The position of a sequence in the group's log, to count sequences from there on. */
export interface Checkpoint {
  /** Index of the log entry that took this sequence. */
  readonly index: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly stateHash: string;
  readonly atMs: number;
  /** Bytes of log that were applied up to here since the store was created. */
  readonly logBytes: number;
}

const GENESIS: Omit<Checkpoint, "atMs"> = {
  index: 0,
  epoch: 0,
  sequence: 0,
  stateHash: "",
  logBytes: 0,
};

export interface Retention {
  readonly hours: number;
  readonly gib: number;
}

/** The checkpoints of one store, oldest first. A checkpoint is dropped when the log that follows it is cut. */
export class Checkpoints {
  #all: Checkpoint[] = [];

  async load(pages: AsyncIterable<readonly (readonly [string, Uint8Array])[]>): Promise<void> {
    this.#all = [];
    for await (const page of pages) {
      for (const [, value] of page) this.#all.push(decodeRecord<Checkpoint>(value));
    }
  }

  /** The checkpoint of a new store, whose log begins with the volume. */
  addGenesis(atMs: number, put: (key: string, value: Uint8Array) => void): void {
    this.add({ ...GENESIS, atMs }, put);
  }

  add(checkpoint: Checkpoint, put: (key: string, value: Uint8Array) => void): void {
    this.#all.push(checkpoint);
    put(checkpointKey(checkpoint.sequence), encodeRecord(checkpoint));
  }

  /** Drops all: a bootstrap has replaced the state that they describe. */
  clear(put: (key: string, value: undefined) => void): void {
    for (const checkpoint of this.#all) put(checkpointKey(checkpoint.sequence), undefined);
    this.#all = [];
  }

  /** The last checkpoint at or before a sequence. */
  before(sequence: number): Checkpoint | undefined {
    return this.#all[this.#placeOf(sequence)];
  }

  /** Its position in the list; −1 if there is none. */
  #placeOf(sequence: number): number {
    let low = 0;
    let high = this.#all.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#all[middle]!.sequence <= sequence) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  at(sequence: number): Checkpoint | undefined {
    const found = this.before(sequence);
    return found?.sequence === sequence ? found : undefined;
  }

  /**
   * The log index from which the log is kept: a reader at `sequence` needs it from there on, within the retention bounds, and
   * so do the streams that read it now (`pinned`, the lowest of their sequences). Drops the checkpoints before that.
   */
  retainFrom(
    sequence: number,
    bounds: Retention & { readonly nowMs: number; readonly logBytes: number; readonly pinned: number },
    put: (key: string, value: undefined) => void,
  ): number {
    const oldestMs = bounds.nowMs - bounds.hours * 3_600_000;
    const oldestBytes = bounds.logBytes - bounds.gib * 2 ** 30;
    let keep = this.#all.findIndex(({ atMs, logBytes }) => atMs >= oldestMs && logBytes >= oldestBytes);
    if (keep === -1) keep = this.#all.length - 1;
    keep = Math.min(Math.max(keep, this.#placeOf(sequence)), this.#placeOf(bounds.pinned));
    if (keep <= 0) return this.#all[0]?.index ?? 0;
    const dropped = this.#all.splice(0, keep);
    for (const checkpoint of dropped) put(checkpointKey(checkpoint.sequence), undefined);
    return this.#all[0]!.index;
  }
}
