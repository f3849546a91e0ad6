import { type Configuration, votersOf } from "./configuration.ts";
import type { Log } from "./log.ts";
import type { HardState, Message } from "./messages.ts";
import { Progress, type Window } from "./progress.ts";

export type Role = "follower" | "pre-candidate" | "candidate" | "leader";

export interface RaftConfig {
  readonly self: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** In [0, 1): spreads the elections. The only chance in here, and it is brought in. */
  readonly random: () => number;
  readonly appendBytesMax: number;
  readonly window: Window;
  /** How long a leader's lease lasts, counted from the sending; undefined: there are no leases. */
  readonly leaseMs?: number | undefined;
}

/** A linearizable read that was asked for; `id` is the asker's, and `from` is who asks: this leader, or a follower. */
export interface ReadQuestion {
  readonly id: number;
  readonly from: number;
}

export interface PendingRead extends ReadQuestion {
  readonly index: number;
  readonly round: number;
}

/** `index`: apply up to there, then read. Undefined: no leader confirmed it. */
export interface ReadState {
  readonly id: number;
  readonly index: number | undefined;
}

/** Read for a follower whose entries are not in memory; comes back as a `fetched` input. */
export interface Fetch {
  readonly to: number;
  readonly from: number;
  readonly through: number;
  readonly bytesMax: number;
}

/** What a leader knows of its lease: the rules are in lease.ts. */
export interface Lease {
  /** By the clock that is told to this member. */
  untilMs: number;
  /** A transfer was begun in this term: its target may be elected at any time, and nobody's silence is waited for. */
  givenUp: boolean;
  /** When each round of heartbeats was sent, those left out that a quorum has answered before. */
  sent: { readonly round: number; readonly atMs: number }[];
}

export function noLease(): Lease {
  return { untilMs: Number.NEGATIVE_INFINITY, givenUp: false, sent: [] };
}

/** Everything a member knows. The rules that change it are in the files beside this one, by subject. */
export class RaftState {
  readonly config: RaftConfig;
  readonly log: Log;
  term: number;
  vote: number;
  role: Role = "follower";
  /** 0 when none is known. */
  leader = 0;

  electionElapsed = 0;
  electionTimeout = 0;
  /**
   * Ticks during which this member casts no vote: it has promised a leader to hold still, or may have before it restarted.
   * Outlasts whatever it hears of later terms meanwhile: a leader's lease rests on it.
   */
  quietTicks = 0;
  votes = new Map<number, boolean>();

  heartbeatElapsed = 0;
  progress = new Map<number, Progress>();
  /** Index of the entry that opened this leader's term. */
  termStart = 0;
  transferTo = 0;
  transferElapsed = 0;

  /** The latest time this member was told, by a clock that never goes back. */
  nowMs = Number.NEGATIVE_INFINITY;
  lease: Lease = noLease();
  round = 0;
  roundWanted = false;
  /** Waiting for the leader's first commit in its term (§6.4, step 1). */
  readsHeldBack: ReadQuestion[] = [];
  reads: PendingRead[] = [];
  /** A follower's own, asked of its leader; with the ticks that each may still take. */
  readsForwarded = new Map<number, number>();

  /** A snapshot is being put in place: appends are not taken. */
  restoring = false;
  /** Began with an empty disk, and may have forgotten what it promised before: see mayVoteFor in election.ts. */
  newcomer: boolean;
  /** A member with a later committed configuration said that this one is in it no more. */
  dismissed = false;

  #voters: readonly number[] = [];
  #votersOf: Configuration | undefined;

  /** What goes out with the next Ready. */
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

  /** Those who vote and are counted, this one among them or not (§4.2.2). */
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

  /** It needs nobody's consent. */
  get isAlone(): boolean {
    return this.voters.length === 1 && this.isVoter;
  }

  get accepting(): boolean {
    return this.role === "leader" && this.transferTo === 0;
  }

  /** The other voters. */
  get others(): number[] {
    return this.voters.filter((id) => id !== this.self);
  }

  /** May go at once: claims nothing that a crash could take back. */
  send(message: Message): void {
    this.messages.push(message);
  }

  /** Claims that something is durable here, so it goes only once it is. */
  promise(message: Message): void {
    this.promises.push(message);
  }

  newProgress(): Progress {
    return new Progress(this.log.lastIndex + 1, this.config.window);
  }
}

/** The largest value that a quorum of the voters has reached. */
export function quorumValue(state: RaftState, reachedBy: (member: number) => number): number {
  const values = state.voters.map(reachedBy).sort((a, b) => b - a);
  return values[state.quorum - 1]!;
}
