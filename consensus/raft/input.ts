/** Everything that can happen to a member, as values: the input of the core. */
import type { Configuration } from "./configuration.ts";
import type { Entry } from "./entry.ts";
import type { HardState, LogPosition, Message } from "./messages.ts";

export type Input =
  | { readonly type: "message"; readonly message: Message }
  | { readonly type: "tick" }
  /** With leases: the time on a monotonic clock, before each turn and each read. */
  | { readonly type: "clock"; readonly nowMs: number }
  /** Ignored unless `accepting`; else each becomes an entry after log.lastIndex, in order. */
  | { readonly type: "propose"; readonly data: readonly Uint8Array[] }
  /** Ignored unless `changeRefusal` is undefined. */
  | { readonly type: "configure"; readonly to: Configuration }
  /** A linearizable read; the result is a ReadState with this id. */
  | { readonly type: "readIndex"; readonly id: number }
  /** Transfer leadership to that member. */
  | { readonly type: "transfer"; readonly to: number }
  /** This save and every earlier one are durable. */
  | { readonly type: "saved"; readonly save: Save }
  /** The result of a Fetch; `term` is that of the request. */
  | {
      readonly type: "fetched";
      readonly term: number;
      readonly to: number;
      readonly from: number;
      readonly entries: readonly Entry[];
    }
  /** Messages to that member were lost. */
  | { readonly type: "unreachable"; readonly peer: number }
  /** The member has installed a snapshot up to `index`; undefined: the transfer failed. */
  | { readonly type: "snapshotSent"; readonly to: number; readonly index: number | undefined }
  /** A leader has applied the entry at `at`. Ignored unless the log holds it: then all up to it are committed. */
  | { readonly type: "committed"; readonly at: LogPosition }
  /**
   * The installation of a snapshot from the leader of `term` has started: nothing is appended or applied until
   * `restored`.
   */
  | { readonly type: "restoring"; readonly leader: number; readonly term: number }
  /** The state machine and the log on disk are replaced by the snapshot; undefined: it failed, and they are unchanged. */
  | { readonly type: "restored"; readonly to: SnapshotPosition | undefined }
  /** The log is compacted up to and including `through`. */
  | { readonly type: "cut"; readonly through: number };

/** Where a log continues after a snapshot. */
export interface SnapshotPosition {
  /** The last entry that the snapshot includes. */
  readonly at: LogPosition;
  /** The configuration in effect at that entry. */
  readonly configuration: Configuration;
}

/** To be written atomically. The entries replace all from the first one's index on. */
export interface Save {
  readonly hardState: HardState;
  readonly entries: readonly Entry[];
}
