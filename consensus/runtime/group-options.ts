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
  /** Time of a clock that never goes back and never stops. */
  readonly nowMs: () => number;
}

export interface GroupOptions {
  /**
   * From the volume file, this member included. A new group (empty disks) starts with these. Afterwards the
   * configuration in the log has the members, and this list only overrides their addresses.
   */
  readonly members: readonly GroupMember[];
  /** Id of this member. */
  readonly self: number;
  /** With an empty disk: the group exists, and this server waits for its leader to send it the log. */
  readonly join?: boolean;
  readonly log: LogStore;
  readonly machine: StateMachine;
  readonly transport: Transport;
  readonly logger: Logger;
  readonly refusals?: Refusals;
  /** The disk failed or an invariant was violated. The group has stopped, and the process must end. */
  readonly onFatal: (error: Error) => void;
  readonly timers?: Timers;
  /** In [0, 1). Default: Math.random. */
  readonly random?: () => number;
  /** Enables reads under a leader lease; without it, reads take a round of heartbeats. */
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
