import type { StateMachine } from "../group.ts";
import type { Input, Save, SnapshotPosition } from "../raft/input.ts";
import type { Message } from "../raft/messages.ts";
import type { Ready } from "../raft/raft.ts";
import type { GroupContext, LeaseOptions } from "./group-options.ts";
import { ProposalQueue } from "./proposal-queue.ts";
import { ReadIndexQueue } from "./read-index-queue.ts";
import { Saver } from "./saver.ts";

/** What the rest of the group does in a turn. */
export interface TurnEvents {
  /** The core has been stepped, and the configuration may have changed. Nothing has been sent yet. */
  stepped(): void;
  /** The committed entries of this Ready have been applied. */
  applied(ready: Ready): void;
  /** Whether the machine's state is being replaced by a snapshot: nothing is applied meanwhile. */
  isRestoring(): boolean;
}

/**
 * The loop around the core, after etcd-io/raft. Inputs are gathered and stepped once a turn; then the core's Ready is
 * carried out. Safety depends on the order (`#carryOut`, `#onSaved`):
 *
 * 1. Save: term, vote and entries are written to the log. `messages` claim nothing durable, and are sent in parallel
 *    with the write (§10.2.1).
 * 2. Promise: granted votes, accepted entries and a candidate's requests are sent once that write and every earlier one
 *    are durable. Only then does the core count this member's own log and vote.
 * 3. Apply: committed entries, durable on a quorum and on this member, are applied in order, and then acknowledged.
 */
export class ReadyLoop {
  readonly proposals: ProposalQueue;
  readonly #context: GroupContext;
  readonly #lease: LeaseOptions | undefined;
  readonly #events: TurnEvents;
  readonly #machine: StateMachine;
  readonly #saver: Saver;
  readonly #reads: ReadIndexQueue;
  #messages: Message[] = [];
  #ticks = 0;
  #isScheduled = false;
  #applied: number;
  /** The machine has no room for another turn. */
  #isApplyPaused = false;

  constructor(context: GroupContext, lease: LeaseOptions | undefined, events: TurnEvents) {
    const { lifecycle, log, machine, random, tuning } = context;
    this.#context = context;
    this.#lease = lease;
    this.#events = events;
    this.#machine = machine;
    this.#applied = machine.appliedIndex;
    this.proposals = new ProposalQueue(tuning.proposalsMax);
    this.#reads = new ReadIndexQueue(Math.floor(random() * 2 ** 40));
    this.#saver = new Saver(log, {
      saved: (save, promises) => lifecycle.guard(() => this.#onSaved(save, promises)),
      failed: (error) => lifecycle.fail(error),
    });
  }

  /** Index of the last entry that the machine has applied. */
  get applied(): number {
    return this.#applied;
  }

  /** Resolves when nothing is being written to the log. */
  idle(): Promise<void> {
    return this.#saver.idle();
  }

  // Inputs. They are gathered, so that a turn needs one write, and one message to each member.

  tick(): void {
    this.#ticks++;
    this.wake();
  }

  receive(messages: readonly Message[]): void {
    const { raft, refusals, tuning } = this.#context;
    const termMax = raft.term + tuning.termLeapMax;
    for (const message of messages) {
      if (message.term <= termMax) this.#messages.push(message);
      else refusals.note("term", message.from, `term ${message.term} is implausible, the current one is ${raft.term}`);
    }
    this.wake();
  }

  /** Calls `done` synchronously when the lease confirms the read and everything committed is applied. */
  readIndex(done: (confirmed: boolean) => void): void {
    const { raft } = this.#context;
    this.#stepClock();
    if (raft.isReadable && raft.log.commit <= this.#applied) {
      done(true);
      return;
    }
    this.#reads.add(done);
    this.wake();
  }

  /** Steps at once; the next turn carries out the Ready. */
  step(input: Input): void {
    this.input(() => this.#context.raft.step(input));
  }

  /** The same for a `run` that steps the core itself, or lets the next turn do more. */
  input(run: () => void): void {
    this.#context.lifecycle.guard(run);
    this.wake();
  }

  /** A snapshot is installed; undefined: it was not, and the state is unchanged. */
  restored(to: SnapshotPosition | undefined): void {
    if (to !== undefined) this.#applied = to.at.index;
    this.step({ type: "restored", to });
  }

  /** Schedules a turn, unless one is scheduled. */
  wake(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#context.timers.soon(() => {
      this.#isScheduled = false;
      this.#context.lifecycle.guard(() => this.#turn());
    });
  }

  /** Fails every pending proposal and read: this member has stopped. */
  failAll(): void {
    this.proposals.refuseQueued();
    this.proposals.leaveTerm(undefined);
    this.#reads.failAll();
  }

  // The turn.

  #turn(): void {
    const { raft } = this.#context;
    this.#stepClock();
    for (; this.#ticks > 0; this.#ticks--) raft.step({ type: "tick" });
    this.#stepMessages();
    this.#stepProposals();
    const read = this.#reads.takeBatch();
    if (read !== undefined) raft.step({ type: "readIndex", id: read });
    this.#carryOut();
  }

  #stepClock(): void {
    if (this.#lease !== undefined) this.#context.raft.step({ type: "clock", nowMs: this.#lease.nowMs() });
  }

  #stepMessages(): void {
    const { raft, refusals } = this.#context;
    const messages = this.#messages;
    this.#messages = [];
    for (const message of messages) {
      if (raft.contradicts(message))
        refusals.note(
          "impossible",
          message.from,
          `${message.type} from a second leader of the term, or in conflict with committed entries`,
        );
      else raft.step({ type: "message", message });
    }
  }

  #stepProposals(): void {
    const { raft } = this.#context;
    const data = this.proposals.queuedData;
    if (data.length === 0) return;
    if (!raft.accepting) {
      this.proposals.refuseQueued();
      return;
    }
    this.proposals.leaveTerm(raft.term);
    const first = raft.log.lastIndex + 1;
    raft.step({ type: "propose", data });
    this.proposals.appended(first, raft.term);
  }

  #carryOut(): void {
    const { raft, transport } = this.#context;
    const ready = raft.takeReady(this.#committedBytesMax());
    this.#events.stepped();
    transport.send(ready.messages);
    const free = this.#saver.add(ready.save, ready.promises); // 1. the others are sent in #onSaved
    transport.send(free);
    this.proposals.leaveTerm(raft.role === "leader" ? raft.term : undefined);
    this.#apply(ready); // 3.
    this.#events.applied(ready);
    const more = raft.log.readable > raft.log.applied;
    if (more && !this.#isApplyPaused && !this.#events.isRestoring()) this.wake();
  }

  /**
   * While a follower writes, its leader waits for the response: the follower applies small slices, and checks for the
   * end of the write between them.
   */
  #committedBytesMax(): number {
    const { raft, tuning } = this.#context;
    if (this.#isApplyPaused) return 0;
    const isWriting = raft.role !== "leader" && (this.#saver.isBusy || raft.log.hasUnsaved);
    return isWriting ? tuning.applySliceBytes : tuning.applyBytesMax;
  }

  #onSaved(save: Save, promises: readonly Message[]): void {
    const { raft, transport } = this.#context;
    transport.send(promises); // 2.
    raft.step({ type: "saved", save });
    if (promises.length === 0) this.#carryOut();
    // Before the next entries are applied, gRPC may write the promises: it does so when this call has returned.
    else this.wake();
  }

  #apply({ committed, reads }: Ready): void {
    if (committed.length > 0) {
      const outcomes = this.#machine.apply(committed);
      this.#applied = this.#context.raft.log.applied;
      for (const [i, { index }] of committed.entries()) this.proposals.applied(index, outcomes[i]);
    }
    for (const read of reads) this.#reads.onReadState(read);
    this.#reads.applied(this.#applied);
    const room = committed.length > 0 ? this.#machine.ready() : undefined;
    if (room !== undefined) this.#pauseApply(room);
  }

  #pauseApply(room: Promise<void>): void {
    this.#isApplyPaused = true;
    room.then(
      () =>
        this.input(() => {
          this.#isApplyPaused = false;
        }),
      (error) => this.#context.lifecycle.fail(error),
    );
  }
}
