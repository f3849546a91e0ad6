/**
 * The messages between members, and the state that a member keeps on disk. Names and rules are those of Ongaro's
 * dissertation; so are all section (§) and figure numbers in this directory.
 */
import type { Entry } from "./entry.ts";

/** Persistent state (figure 3.1). */
export interface HardState {
  readonly term: number;
  /** Member voted for in `term`; 0 for none. */
  readonly vote: number;
  /** Only a hint: it shortens the replay after a restart. */
  readonly commit: number;
  /** Started with an empty disk and has not caught up with a leader since: see election.ts. */
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

/** §9.6: sent before a new term is started. `term` is the one that the sender would start. */
export type PreVote = Envelope & { readonly type: "preVote"; readonly last: LogPosition };
export type PreVoteResponse = Envelope & { readonly type: "preVoteResponse"; readonly granted: boolean };
/** §3.4. `transfer`: the current leader requested this election, so it is not disregarded (§3.10, §4.2.3). */
export type Vote = Envelope & { readonly type: "vote"; readonly last: LogPosition; readonly transfer: boolean };
export type VoteResponse = Envelope & { readonly type: "voteResponse"; readonly granted: boolean };
/** §3.5. `entries` directly follow `previous`. */
export type Append = Envelope & {
  readonly type: "append";
  readonly previous: LogPosition;
  readonly commit: number;
  readonly entries: readonly Entry[];
};
/** The follower's log is durable and equal to the leader's up to `match`. */
export type AppendAccepted = Envelope & { readonly type: "appendAccepted"; readonly match: number };
/**
 * The follower has no entry with the index and term of `previous`; `hint` is its last one that could match (end of
 * §3.5).
 */
export type AppendRejected = Envelope & {
  readonly type: "appendRejected";
  readonly rejected: number;
  readonly hint: LogPosition;
};
export type Heartbeat = Envelope & {
  readonly type: "heartbeat";
  /** The leader's commit index, but never beyond the follower's match index. */
  readonly commit: number;
  /** The leader's commit index. */
  readonly committed: number;
  /** Numbers the heartbeats of a term. A quorum's responses confirm every read requested before that round (§6.4). */
  readonly round: number;
};
export type HeartbeatResponse = Envelope & { readonly type: "heartbeatResponse"; readonly round: number };
/** §3.10: start an election at once. */
export type TimeoutNow = Envelope & { readonly type: "timeoutNow" };
/** Reply to a pre-vote: the sender is not in the committed configuration, whose index is `since`. */
export type NotMember = Envelope & { readonly type: "notMember"; readonly since: number };
/** §6.4, last paragraph: a follower requests the leader's read index. `id` is the follower's. */
export type ReadRequest = Envelope & { readonly type: "readRequest"; readonly id: number };
/** `index` undefined: the leader could not confirm the read. */
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
