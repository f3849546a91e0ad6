/** The disk under a member's Raft log: what LevelLog does for a server and a memory log does for the tests. */
import type { Configuration } from "./raft/configuration.ts";
import type { Entry } from "./raft/entry.ts";
import type { HardState, LogPosition } from "./raft/messages.ts";

/** The index at which a term's entries begin in the log. */
export interface TermStart {
  readonly term: number;
  readonly index: number;
}

/** What the disk held when the log was opened. */
export interface StoredLog {
  readonly hardState: HardState;
  /** The position before the first entry: what was cut, or a snapshot's. */
  readonly base: LogPosition;
  /** Equals base.index when there is no entry. */
  readonly lastIndex: number;
  /** Of the terms that have entries in the log, ascending. */
  readonly termStarts: readonly TermStart[];
  /** A snapshot was being installed when the server ended; the machine's applied index tells whether it was. */
  readonly restoring: StoredPosition | undefined;
  /** The one that held at the base, then each that an entry after it brought; empty until `begin`. */
  readonly configurations: readonly Configuration[];
}

/** A position, and the members as of it (undefined: those that are known). */
export interface StoredPosition extends LogPosition {
  readonly configuration?: Configuration;
}

export interface LogStore {
  /** As of the opening. */
  readonly stored: StoredLog;
  /** Durable, before anything else is written: the members that the group begins with. */
  begin(configuration: Configuration): Promise<void>;
  /**
   * One durable write: the hard state, and the entries in place of everything from the first one's index on. `done` is
   * called, later, once it is synced, or with the error that makes this log unusable. One append at a time.
   */
  append(hardState: HardState, entries: readonly Entry[], done: (error?: Error) => void): void;
  /** Entries from `from` up to `through`, at least one if it exists and about `bytesMax` of them; [] below the first index. */
  read(from: number, through: number, bytesMax: number): Promise<Entry[]>;
  /** Drops the entries up to and including `through`; `through.term` is that entry's term. */
  cut(through: LogPosition): Promise<void>;
  /** Durable notice that the machine is about to be replaced by a snapshot (undefined: that it was given up). */
  markRestoring(at: StoredPosition | undefined): Promise<void>;
  /** Drops every entry: the log goes on after a snapshot. Clears the mark of markRestoring in the same write. */
  reset(at: StoredPosition): Promise<void>;
  /** Waits for the append in flight. */
  close(): Promise<void>;
}
