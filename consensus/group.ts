/**
 * A replicated log for any state machine. This file is its interface: `Group` is what a server calls, `StateMachine` what
 * it implements. The room has four parts:
 *
 * - raft/ is the core: the Raft algorithm as a deterministic state machine. Inputs go in, a Ready comes out.
 * - runtime/ is everything around it: the loop that carries out each Ready (ready-loop.ts), recovery, snapshots,
 *   compaction, pending proposals and reads. raft-group.ts wires the parts together and implements `Group`.
 * - transport/ carries messages and snapshots between members: an interface (transport.ts), and gRPC behind it.
 * - log-store.ts is the interface of the log on disk. The server implements it, as it does `StateMachine`.
 */

import type { MembershipChange, RaftMember } from "./raft/configuration.ts";
import type { Entry } from "./raft/entry.ts";

export type GroupEntry = Pick<Entry, "index" | "term" | "kind" | "data">;

export interface StateMachine {
  /** Index of the last entry applied, in memory; at the start: of the last one on disk. */
  readonly appliedIndex: number;
  /** Index up to which the state on disk is synced. The log is never compacted beyond it. */
  readonly durableIndex: number;
  /** No reader of the log needs entries below this index: the log may be compacted up to here. */
  readonly retainFromIndex: number;
  /**
   * Applies committed entries in order. Synchronous; a throw is a bug or a broken disk, and stops the group. The result is
   * visible to reads at once, and is written to disk afterwards.
   * @returns the outcome of each entry, in order (undefined for Raft's own entries)
   */
  apply(entries: readonly GroupEntry[]): unknown[];
  /** Resolves when there is room for another batch; undefined when there is. Bounds what is applied but not yet written. */
  ready(): Promise<void> | undefined;
  /** A consistent copy of the whole state at `appliedIndex`, for a member whose next entry was compacted. */
  snapshot(): Promise<MachineSnapshot>;
  /**
   * Replaces the whole state by a snapshot. Atomic: a crash or a failure leaves the old state.
   * @throws RangeError for parts that are not valid
   */
  restore(at: { index: number; term: number }, parts: AsyncIterable<Uint8Array>): Promise<void>;
  /** Writes what is not written yet, and closes. */
  close(): Promise<void>;
}

export interface MachineSnapshot {
  /** Of the last entry that it includes. */
  readonly index: number;
  /** Bounded parts (about 1 MiB), opaque to the group. */
  readonly parts: AsyncIterable<Uint8Array>;
  release(): Promise<void>;
}

export type Proposed =
  | { readonly ok: true; readonly index: number; readonly outcome: unknown }
  /**
   * `not-leader` and `busy` (too many pending): not appended. `unknown`: this leader was deposed, and the entry may
   * yet be committed.
   */
  | { readonly ok: false; readonly reason: "not-leader" | "unknown" | "busy" };

export interface GroupMember {
  readonly id: number;
  readonly address: string;
}

export type MembershipResult =
  /** Committed and applied. `id`: the member that was added, promoted or removed. */
  | { readonly ok: true; readonly id: number }
  /** As for a proposal; `refused`: the change is invalid. `message` is the reason, for the operator. */
  | { readonly ok: false; readonly reason: "not-leader" | "unknown" | "busy" | "refused"; readonly message: string };

export interface MemberProgress extends RaftMember {
  /** At the leader: index of the last entry known to be durable there. 0 at the others. */
  readonly matched: number;
  /** At the leader: bytes of entries in flight to it, which the leader keeps in memory. Bounded by the window. */
  readonly unconfirmedBytes: number;
  /** At the leader: how much of the snapshot under way it has stored; undefined when none is under way. */
  readonly snapshotBytes: number | undefined;
  /** At the leader: has responded within an election timeout. */
  readonly active: boolean;
}

export interface GroupStatus {
  readonly role: "follower" | "pre-candidate" | "candidate" | "leader";
  readonly term: number;
  /** Member id of the leader, 0 when none is known. */
  readonly leader: number;
  readonly commit: number;
  readonly applied: number;
  /** By the latest configuration in this member's log, committed or not. */
  readonly members: readonly MemberProgress[];
  /** This server's own part. `joining`: its log does not hold its addition yet. */
  readonly membership: "voter" | "learner" | "joining" | "removed";
}

export interface Group {
  readonly member: GroupMember;
  status(): GroupStatus;
  /** Whether this member is the leader and has applied everything committed before its term. */
  readonly leading: boolean;
  /**
   * Appends `data` to the log. Calls `done` once the entry is committed and applied on this member, never synchronously.
   * @throws RangeError for more than entryBytesMax bytes
   */
  propose(data: Uint8Array, done: (result: Proposed) => void): void;
  /**
   * ReadIndex: `done(true)` once the leader is confirmed and this member has applied everything committed before the
   * call, so that a read of its state is linearizable. `done(false)` when there is no leader, or none that responds
   * within an election timeout. May call `done` synchronously.
   */
  readIndex(done: (confirmed: boolean) => void): void;
  /**
   * Committed entries from `from` on, about `bytesMax` of them; [] when there are none yet. Rejects with RangeError
   * below firstIndex.
   */
  readLog(from: number, bytesMax: number): Promise<readonly GroupEntry[]>;
  readonly firstIndex: number;
  /** Of the last entry that is committed and durable on this member: readLog ends here. */
  readonly commitIndex: number;
  /** Number of refused messages and streams of peers since the start, by RefusalKind. */
  readonly refused: Readonly<Record<string, number>>;
  /** `listener` is called after each change of role, term, leader, `leading` or configuration. @returns unsubscribes */
  onChange(listener: (status: GroupStatus) => void): () => void;
  /**
   * To the most up-to-date voter (§3.10). False when this member is not the leader, or still is after an election
   * timeout.
   */
  transferLeadership(): Promise<boolean>;
  /**
   * At the leader: adds a learner, promotes a learner to voter, or removes a member; one change at a time. After `unknown`
   * the change may yet be committed: the next leader's status shows it.
   */
  changeMembership(change: MembershipChange): Promise<MembershipResult>;
  /** Transfers leadership if possible, stops, and closes the transport, the log and the machine. */
  stop(): Promise<void>;
}
