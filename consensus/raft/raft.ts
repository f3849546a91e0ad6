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

/**
 * What follows from the inputs since the last Ready. In this order: `messages` may go at once (a leader's appends go out
 * beside its own write, §10.2.1); `save` is written; `promises` go once it is durable, as do those of a Ready without a
 * save once every earlier save is; `committed` is durable here already and is applied in order.
 */
export interface Ready {
  readonly messages: readonly Message[];
  readonly save: Save | undefined;
  readonly promises: readonly Message[];
  readonly committed: readonly Entry[];
  readonly reads: readonly ReadState[];
  readonly fetches: readonly Fetch[];
  /** Members to whom a snapshot must be sent. */
  readonly snapshotsFor: readonly number[];
}

export interface RaftStart {
  readonly hardState: HardState;
  readonly log: LogStart;
  /** Entries kept in memory beyond those that must be. */
  readonly tailBytesMax: number;
}

/** One member of a group: the algorithm of the Raft dissertation, without clock, network, disk or chance of its own. */
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
    else if (start.hardState.term > 0) this.#state.quietTicks = config.electionTicks;
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

  /** Why a leader can propose no change of the members now. */
  get changeRefusal(): ReturnType<typeof changeRefusal> {
    return changeRefusal(this.#state);
  }

  /** Another member said that this one was removed. */
  get dismissed(): boolean {
    return this.#state.dismissed;
  }

  /** What this leader has committed may be read at the time it was last told, with nobody asked. */
  get isReadable(): boolean {
    return isReadable(this.#state);
  }

  /** Index of the entry that opened this leader's term; once it is applied, so is all that came before the term. */
  get termStart(): number {
    return this.#state.termStart;
  }

  /** A leader's knowledge of a member: undefined when it does not lead or for itself. */
  progress(member: number): Pick<Progress, "match" | "silentTicks" | "unconfirmedBytes"> | undefined {
    return this.#state.progress.get(member);
  }

  /**
   * What cannot come from this group, whatever was lost or late: another leader of the same term, or entries in the place
   * of committed ones. To be dropped: stepping it would stop the server.
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

  /** `committedBytesMax` 0: the machine has no room, nothing committed is handed out. */
  takeReady(committedBytesMax: number): Ready {
    const state = this.#state;
    if (state.role === "leader") {
      if (state.roundWanted) {
        state.round++;
        state.roundWanted = false;
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
