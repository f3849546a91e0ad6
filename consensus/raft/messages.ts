/** What goes between the members of a group, and what must outlive a crash. Names and rules: Ongaro's dissertation. */
import type { Entry } from "./entry.ts";

/** Dissertation figure 3.1, "persistent state"; commit is only a hint that shortens the replay at a restart. */
export interface HardState {
  readonly term: number;
  /** Member voted for in `term`; 0 for none. */
  readonly vote: number;
  readonly commit: number;
  /** It began with an empty disk and has not been level with a leader yet: see election.ts. */
  readonly newcomer?: boolean;
}

export interface LogPosition {
  readonly index: number;
  readonly term: number;
}

interface Envelope {
  readonly from: number;
  readonly to: number;
  readonly term: number;
}

/** §9.6: asked before a term is begun. `term` is the one it would begin. */
export type PreVote = Envelope & { readonly type: "preVote"; readonly last: LogPosition };
export type PreVoteResponse = Envelope & { readonly type: "preVoteResponse"; readonly granted: boolean };
/** §3.4. `transfer`: the leader itself asked for this election, so nobody holds it off (§3.10, §4.2.3). */
export type Vote = Envelope & { readonly type: "vote"; readonly last: LogPosition; readonly transfer: boolean };
export type VoteResponse = Envelope & { readonly type: "voteResponse"; readonly granted: boolean };
/** §3.5. The entries are those after `previous`, in order. */
export type Append = Envelope & {
  readonly type: "append";
  readonly previous: LogPosition;
  readonly commit: number;
  readonly entries: readonly Entry[];
};
/** The follower holds, durably, what the leader holds up to `match`. */
export type AppendAccepted = Envelope & { readonly type: "appendAccepted"; readonly match: number };
/** The follower has no entry like `rejected`'s; `hint` is the last of its own that could agree (§3.5, end). */
export type AppendRejected = Envelope & {
  readonly type: "appendRejected";
  readonly rejected: number;
  readonly hint: LogPosition;
};
/**
 * `round` numbers the heartbeats of a term; its echo by a quorum confirms every read asked before it (§6.4). `commit` is
 * never beyond what the follower is known to share, `committed` is the leader's own.
 */
export type Heartbeat = Envelope & {
  readonly type: "heartbeat";
  readonly commit: number;
  readonly committed: number;
  readonly round: number;
};
export type HeartbeatResponse = Envelope & { readonly type: "heartbeatResponse"; readonly round: number };
/** §3.10: stand for election at once. */
export type TimeoutNow = Envelope & { readonly type: "timeoutNow" };
/** To one who asks for votes: the committed configuration of index `since` does not hold you. */
export type NotMember = Envelope & { readonly type: "notMember"; readonly since: number };
/** §6.4, last paragraph: a follower's read is the leader's to confirm. `id` is the asker's. */
export type ReadRequest = Envelope & { readonly type: "readRequest"; readonly id: number };
/** `index` undefined: this leader could not confirm it. */
export type ReadResponse = Envelope & {
  readonly type: "readResponse";
  readonly id: number;
  readonly index: number | undefined;
};

export type Message =
  | PreVote
  | PreVoteResponse
  | Vote
  | VoteResponse
  | Append
  | AppendAccepted
  | AppendRejected
  | Heartbeat
  | HeartbeatResponse
  | TimeoutNow
  | NotMember
  | ReadRequest
  | ReadResponse;
