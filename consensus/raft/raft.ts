import { startPreElection } from "./election.ts";
import type { Entry } from "./entry.ts";
import type { Input, Save } from "./input.ts";
import { Log, type LogStart } from "./log.ts";
import { changeRefusal } from "./membership.ts";
import type { HardState, Message } from "./messages.ts";
import type { Progress } from "./progress.ts";
import { isReadable } from "./read-index.ts";
import { replicate, sendHeartbeats } from "./replication.ts";
import { resetElectionTimer } from "./roles.ts";
import { type Fetch, type RaftConfig, RaftState, type ReadState, type Role } from "./state.ts";
import { step } from "./step.ts";

/** What is to be done after the inputs since the last Ready; runtime/ready-loop.ts has the order. */
export interface Ready {
  /** May be sent at once: a leader replicates in parallel with its own write (§10.2.1). */
  readonly messages: readonly Message[];
  readonly save: Save | undefined;
  /** May be sent once this save, and every earlier one, is durable. */
  readonly promises: readonly Message[];
  /** Durable on this member, and to be applied in order. */
  readonly committed: readonly Entry[];
  readonly reads: readonly ReadState[];
  readonly fetches: readonly Fetch[];
  /** Members to whom a snapshot must be sent. */
  readonly snapshotsFor: readonly number[];
}

export interface RaftStart {
  readonly hardState: HardState;
  readonly log: LogStart;
  /** Bound of the entries kept in memory beyond those that must be. */
  readonly tailBytesMax: number;
}

/**
 * One member of a group, as a deterministic state machine: inputs go into `step`, and `takeReady` returns what is to be
 * done. It has no clock, network, disk or randomness of its own.
 */
export class Raft {
  readonly #state: RaftState;
  #savedTerm: number;
  #savedVote: number;
  #savedNewcomer: boolean;

  constructor(config: RaftConfig, start: RaftStart) {
    this.#state = new RaftState(config, new Log(start.log, start.tailBytesMax), start.hardState);
    this.#savedTerm = start.hardState.term;
    this.#savedVote = start.hardState.vote;
    this.#savedNewcomer = this.#state.newcomer;
    resetElectionTimer(this.#state);
    if (this.#state.isAlone) startPreElection(this.#state);
    else if (start.hardState.term > 0) this.#state.noVoteTicks = config.electionTicks;
  }

  get id(): number {
    return this.#state.self;
  }

  get role(): Role {
    return this.#state.role;
  }

  get term(): number {
    return this.#state.term;
  }

  get vote(): number {
    return this.#state.vote;
  }

  get leader(): number {
    return this.#state.leader;
  }

  get log(): Log {
    return this.#state.log;
  }

  get accepting(): boolean {
    return this.#state.accepting;
  }

  /** Why no membership change can be proposed now; undefined when one can. */
  get changeRefusal(): ReturnType<typeof changeRefusal> {
    return changeRefusal(this.#state);
  }

  /** Another member's committed configuration does not hold this server. */
  get dismissed(): boolean {
    return this.#state.dismissed;
  }

  /**
   * Whether a read at the commit index is linearizable without a round of heartbeats, at the time of the latest `clock`
   * input.
   */
  get isReadable(): boolean {
    return isReadable(this.#state);
  }

  /** Index of the first entry of this leader's term; once it is applied, so is everything committed in earlier terms. */
  get termStart(): number {
    return this.#state.termStart;
  }

  /** At the leader: of another member. Undefined otherwise. */
  progress(member: number): Pick<Progress, "match" | "silentTicks" | "unconfirmedBytes"> | undefined {
    return this.#state.progress.get(member);
  }

  /**
   * Whether a message cannot come from a correct member, even if it was delayed or repeated: a second leader in a term,
   * or entries that conflict with committed ones. The caller must drop it: stepping it would violate an invariant.
   */
  contradicts(message: Message): boolean {
    const { term, role, leader, log } = this.#state;
    if ((message.type !== "append" && message.type !== "heartbeat") || message.term < term) return false;
    if (message.term === term && (role === "leader" || (leader !== 0 && leader !== message.from))) return true;
    return (
      message.type === "append" &&
      message.entries.some(
        ({ index, term: own }) => index > log.base.index && index <= log.commit && log.term(index) !== own,
      )
    );
  }

  step(input: Input): void {
    step(this.#state, input);
  }

  /** `committedBytesMax`: about how much may be applied; 0: the state machine has no room. */
  takeReady(committedBytesMax: number): Ready {
    const state = this.#state;
    if (state.role === "leader") {
      if (state.needsRound) {
        state.round++;
        state.needsRound = false;
        sendHeartbeats(state);
      }
      replicate(state);
    }
    const ready = {
      messages: state.messages,
      save: this.#takeSave(),
      promises: state.promises,
      committed: committedBytesMax > 0 && !state.restoring ? state.log.takeCommitted(committedBytesMax) : [],
      reads: state.readStates,
      fetches: state.fetches,
      snapshotsFor: state.snapshotsFor,
    };
    state.messages = [];
    state.promises = [];
    state.readStates = [];
    state.fetches = [];
    state.snapshotsFor = [];
    return ready;
  }

  #takeSave(): Save | undefined {
    const { term, vote, log, newcomer } = this.#state;
    const entries = log.takeUnsaved();
    const isSaved = term === this.#savedTerm && vote === this.#savedVote && newcomer === this.#savedNewcomer;
    if (entries.length === 0 && isSaved) return undefined;
    this.#savedTerm = term;
    this.#savedVote = vote;
    this.#savedNewcomer = newcomer;
    return { hardState: { term, vote, commit: log.commit, newcomer }, entries };
  }
}
