import type { Logger } from "pino";
import type { Refusals } from "../../proto/refusals.ts";
import type { GroupMember, StateMachine } from "../group.ts";
import type { LogStore } from "../log-store.ts";
import type { Raft } from "../raft/raft.ts";
import type { Transport } from "../transport/transport.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { Timers } from "./timers.ts";
import type { GroupTuning } from "./tuning.ts";

export interface LeaseOptions {
  /** By how much one member's clock may run faster than another's. */
  readonly clockDriftPercent: number;
  /** Of a clock that never goes back and never stands still. */
  readonly nowMs: () => number;
}

export interface GroupOptions {
  /**
   * As the volume file names them, this one among them. With an empty disk the group begins with these; afterwards the log
   * knows the members, and these only say where some of them are reached from here.
   */
  readonly members: readonly GroupMember[];
  /** The id of this one. */
  readonly self: number;
  /** With an empty disk: the group is there already, and this server waits to be told of it by the leader. */
  readonly join?: boolean;
  readonly log: LogStore;
  readonly machine: StateMachine;
  readonly transport: Transport;
  readonly logger: Logger;
  readonly refusals?: Refusals;
  /** The disk failed or a truth was violated: the group has stopped, the process must. */
  readonly onFatal: (error: Error) => void;
  readonly timers?: Timers;
  /** In [0, 1). */
  readonly random?: () => number;
  /** Reads under a leader lease; without it each asks a quorum. */
  readonly lease?: LeaseOptions | undefined;
  readonly tuning?: Partial<GroupTuning>;
}

/** What the parts of a running group share. */
export interface GroupContext {
  readonly raft: Raft;
  readonly log: LogStore;
  readonly machine: StateMachine;
  readonly transport: Transport;
  readonly timers: Timers;
  readonly random: () => number;
  readonly logger: Logger;
  readonly refusals: Refusals;
  readonly tuning: GroupTuning;
  readonly lifecycle: Lifecycle;
}
