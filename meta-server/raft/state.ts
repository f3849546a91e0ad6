import type { Log } from "./log.ts";
import type { Message } from "./messages.ts";
import { Progress, type Window } from "./progress.ts";

export type Role = "follower" | "pre-candidate" | "candidate" | "leader";

export interface RaftConfig {
  readonly self: number;
  /** All members, self among them. */
  readonly voters: readonly number[];
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** In [0, 1): spreads the elections. The only chance in here, and it is brought in. */
  readonly random: () => number;
  readonly appendBytesMax: number;
  readonly window: Window;
}

/** A linearizable read that was asked for; `id` is the asker's. */
export interface PendingRead {
  readonly id: number;
  readonly index: number;
  readonly round: number;
}

/** `index`: apply up to there, then read. Undefined: this member does not lead, or not any more. */
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
  /** Ticks during which a restarted member casts no vote: it may have promised a leader to hold still. */
  quietTicks = 0;
  votes = new Map<number, boolean>();

  heartbeatElapsed = 0;
  progress = new Map<number, Progress>();
  /** Index of the entry that opened this leader's term. */
  termStart = 0;
  transferTo = 0;
  transferElapsed = 0;

  round = 0;
  roundWanted = false;
  /** Waiting for the leader's first commit in its term (§6.4, step 1). */
  readsHeldBack: number[] = [];
  reads: PendingRead[] = [];

  /** A snapshot is being put in place: appends are not taken. */
  restoring = false;

  /** What goes out with the next Ready. */
  messages: Message[] = [];
  promises: Message[] = [];
  readStates: ReadState[] = [];
  fetches: Fetch[] = [];
  snapshotsFor: number[] = [];

  constructor(config: RaftConfig, log: Log, hardState: { term: number; vote: number }) {
    this.config = config;
    this.log = log;
    this.term = hardState.term;
    this.vote = hardState.vote;
  }

  get self(): number {
    return this.config.self;
  }

  get quorum(): number {
    return Math.floor(this.config.voters.length / 2) + 1;
  }

  get accepting(): boolean {
    return this.role === "leader" && this.transferTo === 0;
  }

  get others(): number[] {
    return this.config.voters.filter((id) => id !== this.self);
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

/** The largest value that a quorum has reached. */
export function quorumValue(state: RaftState, reachedBy: (member: number) => number): number {
  const values = state.config.voters.map(reachedBy).sort((a, b) => b - a);
  return values[state.quorum - 1]!;
}
