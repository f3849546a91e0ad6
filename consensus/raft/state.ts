import { type Configuration, votersOf } from "./configuration.ts";
import type { Log } from "./log.ts";
import type { HardState, Message } from "./messages.ts";
import { Progress, type Window } from "./progress.ts";

export type Role = "follower" | "pre-candidate" | "candidate" | "leader";

export interface RaftConfig {
  readonly self: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** In [0, 1): randomizes election timeouts. The only source of randomness; injected by the caller. */
  readonly random: () => number;
  readonly appendBytesMax: number;
  readonly window: Window;
  /** Duration of a leader's lease, from the sending of a heartbeat. Undefined: every read takes a round of heartbeats. */
  readonly leaseMs?: number | undefined;
}

/** A linearizable read. `from`: the member it was requested on; `id` is that member's. */
export interface Read {
  readonly id: number;
  readonly from: number;
}

/** Waits for a quorum's responses to `round`. */
export interface PendingRead extends Read {
  readonly index: number;
  readonly round: number;
}

/** The result of a read request. `index`: serve the read once that is applied. Undefined: no leader confirmed it. */
export interface ReadState {
  readonly id: number;
  readonly index: number | undefined;
}

/** Entries for follower `to` that are to be read from disk; the result is a `fetched` input. */
export interface Fetch {
  readonly to: number;
  readonly from: number;
  readonly through: number;
  readonly bytesMax: number;
}

/** A leader's lease: the rules are in lease.ts. */
export interface Lease {
  /** On the clock of the `clock` inputs. */
  untilMs: number;
  /** A leadership transfer was started in this term: its target may be elected at any time, without an election timeout. */
  givenUp: boolean;
  /** The times at which rounds of heartbeats were sent, from the last one on that a quorum has responded to. */
  sent: { readonly round: number; readonly atMs: number }[];
}

export function noLease(): Lease {
  return { untilMs: Number.NEGATIVE_INFINITY, givenUp: false, sent: [] };
}

/** All of a member's state. The rules that change it are in the other files of this directory, by subject. */
export class RaftState {
  readonly config: RaftConfig;
  readonly log: Log;
  term: number;
  /** Member voted for in `term`; 0 for none. */
  vote: number;
  role: Role = "follower";
  /** 0 when none is known. */
  leader = 0;

  electionElapsed = 0;
  electionTimeout = 0;
  /**
   * Ticks left in which vote requests are disregarded, since a leader's message came or may have come before a restart. A
   * message of a later term does not shorten it: a leader's lease depends on it.
   */
  noVoteTicks = 0;
  votes = new Map<number, boolean>();

  heartbeatElapsed = 0;
  progress = new Map<number, Progress>();
  /** Index of the first entry of this leader's term. */
  termStart = 0;
  transferTo = 0;
  transferElapsed = 0;

  /** The latest `clock` input: a monotonic clock. */
  nowMs = Number.NEGATIVE_INFINITY;
  lease: Lease = noLease();
  /** Of the heartbeats sent last. */
  round = 0;
  /** A read waits for a new round of heartbeats. */
  needsRound = false;
  /** Waiting for the first commit in this term (§6.4, step 1). */
  deferredReads: Read[] = [];
  reads: PendingRead[] = [];
  /** Of a follower, by id: requested from the leader. The value is the number of ticks left until it fails. */
  forwardedReads = new Map<number, number>();

  /** A snapshot is being installed: appends are ignored. */
  restoring = false;
  /**
   * Started with an empty disk, and may have lost votes and entries that it acknowledged: see mayVoteFor in
   * election.ts.
   */
  newcomer: boolean;
  /** Another member's committed configuration does not hold this server. */
  dismissed = false;

  #voters: readonly number[] = [];
  #votersOf: Configuration | undefined;

  // Collected for the next Ready.
  messages: Message[] = [];
  promises: Message[] = [];
  readStates: ReadState[] = [];
  fetches: Fetch[] = [];
  snapshotsFor: number[] = [];

  constructor(config: RaftConfig, log: Log, hardState: HardState) {
    this.config = config;
    this.log = log;
    this.term = hardState.term;
    this.vote = hardState.vote;
    this.newcomer = hardState.newcomer ?? (hardState.term === 0 && log.lastIndex === 0);
  }

  get self(): number {
    return this.config.self;
  }

  get configuration(): Configuration {
    return this.log.configuration;
  }

  /** The members that make up a quorum; this one need not be among them (§4.2.2). */
  get voters(): readonly number[] {
    const { configuration } = this.log;
    if (this.#votersOf !== configuration) {
      this.#voters = votersOf(configuration);
      this.#votersOf = configuration;
    }
    return this.#voters;
  }

  get quorum(): number {
    return Math.floor(this.voters.length / 2) + 1;
  }

  get isVoter(): boolean {
    return this.voters.includes(this.self);
  }

  /** The only voter: its own vote is a quorum. */
  get isAlone(): boolean {
    return this.voters.length === 1 && this.isVoter;
  }

  /** Whether proposals are accepted: a leader without a transfer under way. */
  get accepting(): boolean {
    return this.role === "leader" && this.transferTo === 0;
  }

  /** The other voters. */
  get others(): number[] {
    return this.voters.filter((id) => id !== this.self);
  }

  /** For messages that may leave before anything is saved: they claim nothing about this member's durable state. */
  send(message: Message): void {
    this.messages.push(message);
  }

  /** For messages that claim a durable vote, term or entry: they leave once that is durable. */
  promise(message: Message): void {
    this.promises.push(message);
  }

  newProgress(): Progress {
    return new Progress(this.log.lastIndex + 1, this.config.window);
  }
}

/** The largest value that a quorum of the voters has reached, where `reachedBy` gives a member's value. */
export function quorumValue(state: RaftState, reachedBy: (member: number) => number): number {
  const values = state.voters.map(reachedBy).sort((a, b) => b - a);
  return values[state.quorum - 1]!;
}
