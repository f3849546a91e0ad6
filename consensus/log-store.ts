/** The interface of a member's Raft log on disk. A server implements it on LevelDB, the tests in memory. */
import type { Configuration } from "./raft/configuration.ts";
import type { Entry } from "./raft/entry.ts";
import type { HardState, LogPosition } from "./raft/messages.ts";

/** Index of a term's first entry in the log. */
export interface TermStart {
  readonly term: number;
  readonly index: number;
}

/** What the disk held when the log was opened. */
export interface StoredLog {
  readonly hardState: HardState;
  /** The position before the first entry: the last one compacted, or a snapshot's. */
  readonly base: LogPosition;
  /** base.index when there is no entry. */
  readonly lastIndex: number;
  /** Of the terms that have entries in the log, ascending. */
  readonly termStarts: readonly TermStart[];
  /**
   * Set when the server ended while it installed this snapshot. The machine's applied index shows whether it was
   * installed.
   */
  readonly restoring: StoredPosition | undefined;
  /** The one in effect at the base, then those of later entries, ascending; empty until `begin`. */
  readonly configurations: readonly Configuration[];
}

/** A position and the configuration in effect there; undefined: the one in the log. */
export interface StoredPosition extends LogPosition {
  readonly configuration?: Configuration;
}

export interface LogStore {
  /** What was on disk when the log was opened. */
  readonly stored: StoredLog;
  /** Before any other write: stores the configuration that the group starts with. Durable when it resolves. */
  begin(configuration: Configuration): Promise<void>;
  /**
   * One atomic write: the hard state, and the entries, which replace all from the first one's index on. `done` is called
   * asynchronously: once the write is synced, or with the error that makes this log unusable. One append at a time.
   */
  append(hardState: HardState, entries: readonly Entry[], done: (error?: Error) => void): void;
  /** Entries `from` to `through`: at least one if it exists, about `bytesMax` of them; [] below the first index. */
  read(from: number, through: number, bytesMax: number): Promise<Entry[]>;
  /** Compacts: drops the entries up to and including `through`; `through.term` is that entry's term. */
  cut(through: LogPosition): Promise<void>;
  /** Marks, durably, that the machine's state is being replaced by a snapshot; undefined: that this was abandoned. */
  markRestoring(at: StoredPosition | undefined): Promise<void>;
  /** Drops every entry: the log continues after a snapshot. Clears the mark of markRestoring in the same write. */
  reset(at: StoredPosition): Promise<void>;
  /** Waits for the append in flight, and closes. */
  close(): Promise<void>;
}
