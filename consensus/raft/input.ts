/** What goes into the core: everything that happens to a member, as a value. */
import type { Configuration } from "./configuration.ts";
import type { Entry } from "./entry.ts";
import type { HardState, LogPosition, Message } from "./messages.ts";

export type Input =
  | { readonly type: "message"; readonly message: Message }
  | { readonly type: "tick" }
  /** Where there are leases: what a clock says that never goes back. Before each read that is asked for. */
  | { readonly type: "clock"; readonly nowMs: number }
  /** Taken only by a leader that is not handing over: then log.lastIndex grows by their number. */
  | { readonly type: "propose"; readonly data: readonly Uint8Array[] }
  /** Taken only where `changeRefusal` is undefined. */
  | { readonly type: "configure"; readonly to: Configuration }
  | { readonly type: "readIndex"; readonly id: number }
  | { readonly type: "transfer"; readonly to: number }
  /** A save has become durable, and so has every earlier one. */
  | { readonly type: "saved"; readonly save: Save }
  | {
      readonly type: "fetched";
      readonly term: number;
      readonly to: number;
      readonly from: number;
      readonly entries: readonly Entry[];
    }
  | { readonly type: "unreachable"; readonly peer: number }
  | { readonly type: "snapshotSent"; readonly to: number; readonly index: number | undefined }
  /** A snapshot from the leader of `term` begins to be put in place: from now on nothing is appended or applied. */
  | { readonly type: "restoring"; readonly leader: number; readonly term: number }
  /** The machine and the log on disk have been replaced by the snapshot; undefined: they have not. */
  | { readonly type: "restored"; readonly to: SnapshotPosition | undefined }
  | { readonly type: "cut"; readonly through: number };

/** What a log goes on from after a snapshot. */
export interface SnapshotPosition {
  /** The last entry that the snapshot holds. */
  readonly at: LogPosition;
  /** The members as of that entry. */
  readonly configuration: Configuration;
}

/** To be written in one piece. The entries take the place of all from the first one's index on. */
export interface Save {
  readonly hardState: HardState;
  readonly entries: readonly Entry[];
}
