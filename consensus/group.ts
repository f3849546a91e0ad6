/** A running Raft group as the rest of the metadata server sees it, and the state machine as the group sees it. */

import type { MembershipChange, RaftMember } from "./raft/configuration.ts";
import type { Entry } from "./raft/entry.ts";

export type GroupEntry = Pick<Entry, "index" | "term" | "kind" | "data">;

export interface StateMachine {
  /** Index of the last entry applied (in memory; at start: as the disk holds it). */
  readonly appliedIndex: number;
  /** Index up to which the state on disk is synced: the log may be cut here, not further. */
  readonly durableIndex: number;
  /** Entries below this index are wanted no more by any mirror. The group may cut up to min(durableIndex, this). */
  readonly retainFromIndex: number;
  /**
   * Applies committed entries in order, as one turn. Synchronous and total: a throw is a bug or a broken disk, and stops
   * the server. Outcomes are visible to reads at once; the write batch reaches the disk behind it.
   * @returns the outcome of each entry, in order (undefined for Raft's own).
   */
  apply(entries: readonly GroupEntry[]): unknown[];
  /** Resolves when there is room for another turn (bounded unwritten turns). */
  ready(): Promise<void> | undefined;
  /** A consistent read of the whole store at `appliedIndex`, for a member that is too far behind. */
  snapshot(): Promise<MachineSnapshot>;
  /** Replaces the whole store by a snapshot; atomic: a crash in the middle leaves the old one. */
  restore(at: { index: number; term: number }, parts: AsyncIterable<Uint8Array>): Promise<void>;
  /** Waits for what is unwritten and closes. */
  close(): Promise<void>;
}

export interface MachineSnapshot {
  readonly index: number;
  /** Bounded parts (about 1 MiB), opaque to the group. */
  readonly parts: AsyncIterable<Uint8Array>;
  release(): Promise<void>;
}

export type Proposed =
  | { readonly ok: true; readonly index: number; readonly outcome: unknown }
  /** `not-leader`: was not appended. `unknown`: leadership was lost in flight; it may yet commit. `busy`: queue full. */
  | { readonly ok: false; readonly reason: "not-leader" | "unknown" | "busy" };

export interface GroupMember {
  readonly id: number;
  readonly address: string;
}

export type MembershipResult =
  /** Committed and applied. `id`: of the member that was added, promoted or removed. */
  | { readonly ok: true; readonly id: number }
  /** As of a proposal; `refused`: it makes no sense, and `message` says why. */
  | { readonly ok: false; readonly reason: "not-leader" | "unknown" | "busy" | "refused"; readonly message: string };

export interface MemberProgress extends RaftMember {
  /** At the leader: the last entry known to be durable there. 0 at the others. */
  readonly matched: number;
  /** At the leader: entries sent to it and not confirmed, which the leader holds for it. Bounded by the window. */
  readonly unconfirmedBytes: number;
  /** At the leader: how much it has of the snapshot that is on its way to it; undefined when none is. */
  readonly snapshotBytes: number | undefined;
  /** At the leader: heard of within an election timeout. */
  readonly active: boolean;
}

export interface GroupStatus {
  readonly role: "follower" | "pre-candidate" | "candidate" | "leader";
  readonly term: number;
  /** Member id of the leader, 0 when none is known. */
  readonly leader: number;
  readonly commit: number;
  readonly applied: number;
  /** As the latest configuration here has them, committed or not. */
  readonly members: readonly MemberProgress[];
  /** What this server is among them. `joining`: it has not been told of any group yet. */
  readonly membership: "voter" | "learner" | "joining" | "removed";
}

export interface Group {
  readonly member: GroupMember;
  status(): GroupStatus;
  /** True from the moment this leader has applied all that came before its own term. */
  readonly leading: boolean;
  /** `done` is called once the entry is durable on a majority and applied here. Never called synchronously. */
  propose(data: Uint8Array, done: (result: Proposed) => void): void;
  /**
   * ReadIndex: `done(true)` once the leader was confirmed by a quorum and this member has applied all that was committed at
   * the call. A follower asks its leader; without one, or without its answer within an election timeout, it is `done(false)`.
   */
  readIndex(done: (confirmed: boolean) => void): void;
  /** Committed entries from `from` on, about `bytesMax` of them; [] when there are none yet. Throws RangeError below firstIndex. */
  readLog(from: number, bytesMax: number): Promise<readonly GroupEntry[]>;
  readonly firstIndex: number;
  readonly commitIndex: number;
  /** Messages and streams of peers that were refused since the start, by what was wrong with them. */
  readonly refused: Readonly<Record<string, number>>;
  /** Called after every change of role, leader, readiness or members. */
  onChange(listener: (status: GroupStatus) => void): () => void;
  /** To the member that has most. False when nobody took it within an election timeout: then this one goes on leading. */
  transferLeadership(): Promise<boolean>;
  /**
   * Adds a learner, gives a learner its vote, or removes a member: one at a time, at the leader. `unknown` may yet commit,
   * and shows in the members of the next leader's status.
   */
  changeMembership(change: MembershipChange): Promise<MembershipResult>;
  /** Hands leadership over where it can, stops, closes the log and the machine. */
  stop(): Promise<void>;
}
