import { assert } from "./assert.ts";
import type { Configuration } from "./configuration.ts";
import {
  answerOldTerm,
  dismissStranger,
  isHeldOff,
  isStranger,
  mayStand,
  onNotMember,
  onPreVote,
  onPreVoteResponse,
  onVote,
  onVoteResponse,
  recordVote,
  startElection,
  startPreElection,
  tickElection,
} from "./election.ts";
import type { Entry } from "./entry.ts";
import { Log, type LogStart } from "./log.ts";
import { changeRefusal, configure } from "./membership.ts";
import type { HardState, LogPosition, Message } from "./messages.ts";
import type { Progress } from "./progress.ts";
import { askRead, confirmReads, isReadable, onReadRequest, onReadResponse, tickReads } from "./read-index.ts";
import {
  advanceCommit,
  appendOwn,
  onAppend,
  onAppendAccepted,
  onAppendRejected,
  onFetched,
  onHeartbeat,
  onHeartbeatResponse,
  onSnapshotSent,
  onUnreachable,
  replicate,
  sendHeartbeats,
} from "./replication.ts";
import { becomeFollower, resetElectionTimer } from "./roles.ts";
import { type Fetch, type RaftConfig, RaftState, type ReadState, type Role } from "./state.ts";
import { startTransfer, tickTransfer } from "./transfer.ts";

export type Input =
  | { readonly type: "message"; readonly message: Message }
  | { readonly type: "tick" }
  /** Where there are leases: what a clock says that never goes back. Before each read that is asked for. */
  | { readonly type: "clock"; readonly nowMs: number }
  /** Taken only by a leader that is not handing over: then log.lastIndex grows by their number. */
  | { readonly type: "propose"; readonly data: readonly Uint8Array[] }
  /** Taken only where `changeRefusal` is undefined. */
  | { readonly type: "configure"; readonly to: Configuration }
  | { readonly type: "readIndex"; readonly id: number }
  | { readonly type: "transfer"; readonly to: number }
  /** A save has become durable, and so has every earlier one. */
  | { readonly type: "saved"; readonly save: Save }
  | {
      readonly type: "fetched";
      readonly term: number;
      readonly to: number;
      readonly from: number;
      readonly entries: readonly Entry[];
    }
  | { readonly type: "unreachable"; readonly peer: number }
  | { readonly type: "snapshotSent"; readonly to: number; readonly index: number | undefined }
  /** A snapshot from the leader of `term` begins to be put in place: from now on nothing is appended or applied. */
  | { readonly type: "restoring"; readonly leader: number; readonly term: number }
  /** The machine and the log on disk have been replaced by the snapshot; undefined: they have not. */
  | { readonly type: "restored"; readonly to: SnapshotPosition | undefined }
  | { readonly type: "cut"; readonly through: number };

/** What a log goes on from after a snapshot. */
export interface SnapshotPosition {
  /** The last entry that the snapshot holds. */
  readonly at: LogPosition;
  /** The members as of that entry. */
  readonly configuration: Configuration;
}

/** To be written in one piece. The entries take the place of all from the first one's index on. */
export interface Save {
  readonly hardState: HardState;
  readonly entries: readonly Entry[];
}

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
    (onInput[input.type] as (state: RaftState, input: Input) => void)(this.#state, input);
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

const onInput: { [K in Input["type"]]: (state: RaftState, input: Extract<Input, { type: K }>) => void } = {
  message: (state, { message }) => receive(state, message),
  tick,
  clock: (state, { nowMs }) => {
    state.nowMs = nowMs;
  },
  propose: (state, { data }) => {
    if (state.accepting) appendOwn(state, data);
  },
  configure: (state, { to }) => configure(state, to),
  readIndex: (state, { id }) => askRead(state, id),
  transfer: (state, { to }) => startTransfer(state, to),
  saved: (state, { save }) => onSaved(state, save),
  fetched: (state, { term, to, from, entries }) => onFetched(state, term, to, from, entries),
  unreachable: (state, { peer }) => onUnreachable(state, peer),
  snapshotSent: (state, { to, index }) => onSnapshotSent(state, to, index),
  restoring: (state, { leader, term }) => {
    if (term > state.term || state.role !== "follower") becomeFollower(state, term, leader);
    state.restoring = true;
  },
  restored: (state, { to }) => {
    state.restoring = false;
    if (to !== undefined) state.log.reset(to.at, to.configuration);
  },
  cut: (state, { through }) => state.log.cut(through),
};

const onMessage: {
  [K in Exclude<Message["type"], "notMember">]: (state: RaftState, message: Extract<Message, { type: K }>) => void;
} = {
  preVote: onPreVote,
  preVoteResponse: onPreVoteResponse,
  vote: onVote,
  voteResponse: onVoteResponse,
  append: (state, message) => {
    follow(state, message.from);
    onAppend(state, message);
  },
  heartbeat: (state, message) => {
    follow(state, message.from);
    onHeartbeat(state, message);
  },
  appendAccepted: onAppendAccepted,
  appendRejected: onAppendRejected,
  heartbeatResponse: onHeartbeatResponse,
  timeoutNow: (state) => {
    if (state.role !== "leader" && !state.restoring && mayStand(state)) startElection(state, true);
  },
  readRequest: onReadRequest,
  readResponse: onReadResponse,
};

function receive(state: RaftState, message: Message): void {
  if (message.type === "notMember") {
    onNotMember(state, message); // whatever the term: who was removed may be ahead or behind
    return;
  }
  if ((message.type === "preVote" || message.type === "vote") && isStranger(state, message)) {
    if (message.type === "preVote") dismissStranger(state, message);
    return;
  }
  if (message.term < state.term) {
    answerOldTerm(state, message);
    return;
  }
  if ((message.type === "preVote" || message.type === "vote") && isHeldOff(state, message)) return;
  if (message.term > state.term && beginsTerm(message)) {
    const fromLeader = message.type === "append" || message.type === "heartbeat";
    becomeFollower(state, message.term, fromLeader ? message.from : 0);
  }
  (onMessage[message.type] as (state: RaftState, message: Message) => void)(state, message);
}

/** A pre-vote asks about a term, and a grant answers about it: neither begins it. */
function beginsTerm(message: Message): boolean {
  return message.type !== "preVote" && !(message.type === "preVoteResponse" && message.granted);
}

function onSaved(state: RaftState, { hardState, entries }: Save): void {
  const last = entries.at(-1);
  if (last !== undefined) state.log.saved(last);
  if (state.role === "leader") advanceCommit(state);
  if (hardState.term === state.term && hardState.vote === state.self) recordVote(state, state.self, true);
}

function tick(state: RaftState): void {
  if (state.quietTicks > 0) state.quietTicks--;
  tickReads(state);
  if (state.role === "leader") tickLeader(state);
  else tickElection(state);
}

function tickLeader(state: RaftState): void {
  const { heartbeatTicks } = state.config;
  for (const progress of state.progress.values()) progress.silentTicks++;
  if (!hasQuorum(state)) {
    becomeFollower(state, state.term, 0); // §6.2: its clients are better served by another
    return;
  }
  tickTransfer(state);
  if (++state.heartbeatElapsed < heartbeatTicks) return;
  state.heartbeatElapsed = 0;
  sendHeartbeats(state);
  confirmReads(state); // the last that had to answer may be a member no more
}

/** Has a quorum of the voters answered within an election timeout? */
function hasQuorum(state: RaftState): boolean {
  const { electionTicks } = state.config;
  const isHeard = (id: number) =>
    id === state.self || (state.progress.get(id)?.silentTicks ?? electionTicks) < electionTicks;
  return state.voters.filter(isHeard).length >= state.quorum;
}

function follow(state: RaftState, leader: number): void {
  assert(state.role !== "leader", "one leader a term");
  assert(state.leader === 0 || state.leader === leader, "one leader a term");
  if (state.role !== "follower" || state.leader !== leader) becomeFollower(state, state.term, leader);
  state.electionElapsed = 0;
  state.quietTicks = state.config.electionTicks;
  state.dismissed = false;
}
