import type { StateMachine } from "../group.ts";
import type { Input, Save, SnapshotPosition } from "../raft/input.ts";
import type { Message } from "../raft/messages.ts";
import type { Ready } from "../raft/raft.ts";
import type { GroupContext, LeaseOptions } from "./group-options.ts";
import { ProposalQueue } from "./proposal-queue.ts";
import { ReadIndexQueue } from "./read-index-queue.ts";
import { Saver } from "./saver.ts";

/** The rest of the group's share of a turn. */
export interface TurnEvents {
  /** The core has been stepped, nothing of what follows is sent yet: the latest configuration may have changed. */
  stepped(): void;
  /** What was committed is applied. */
  applied(ready: Ready): void;
  /** Whether the machine is being replaced by a snapshot: nothing can be applied until that is over. */
  isRestoring(): boolean;
}

/**
 * The loop around the core, after etcd-io/raft's Ready loop. Input is gathered and stepped once a turn; then the Ready that
 * follows from it is carried out. The order is what makes it safe, and `#carryOut` and `#onSaved` are that order:
 *
 * 1. Save: term, vote and entries are written to the log. `messages` claim nothing durable and leave beside the write
 *    (§10.2.1).
 * 2. Promise: `promises` (granted votes, accepted entries, a candidate's requests) leave once that write and every earlier
 *    one are durable. Only then does the core count this member.
 * 3. Apply: `committed` entries are on a quorum and durable here. They are applied in order, and only then answered.
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

  // Input. What can be gathered waits for the turn, so that a turn is one write and one message to each member.

  tick(): void {
    this.#ticks++;
    this.wake();
  }

  receive(messages: readonly Message[]): void {
    const { raft, refusals, tuning } = this.#context;
    const termMax = raft.term + tuning.termLeapMax;
    for (const message of messages) {
      if (message.term <= termMax) this.#messages.push(message);
      else refusals.note("term", message.from, `term ${message.term} comes from nowhere, here it is ${raft.term}`);
    }
    this.wake();
  }

  /** `done` is called before this returns where the lease confirms the read and all that is committed is applied. */
  readIndex(done: (confirmed: boolean) => void): void {
    const { raft } = this.#context;
    this.#stepClock();
    if (raft.isReadable && raft.log.commit <= this.#applied) {
      done(true);
      return;
    }
    this.#reads.gather(done);
    this.wake();
  }

  /** Steps at once; what follows is carried out with the next turn. */
  step(input: Input): void {
    this.input(() => this.#context.raft.step(input));
  }

  input(step: () => void): void {
    this.#context.lifecycle.guard(step);
    this.wake();
  }

  restored(to: SnapshotPosition | undefined): void {
    if (to !== undefined) this.#applied = to.at.index;
    this.step({ type: "restored", to });
  }

  /** Schedules a turn. */
  wake(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#context.timers.soon(() => {
      this.#isScheduled = false;
      this.#context.lifecycle.guard(() => this.#turn());
    });
  }

  /** Answers everything that waits: this member has stopped. */
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
    const read = this.#reads.ask();
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
          `${message.type} in the term of another, or against what is committed`,
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
    transport.send(this.#saver.add(ready.save, ready.promises)); // those that need not wait for a write
    this.proposals.leaveTerm(raft.role === "leader" ? raft.term : undefined);
    this.#apply(ready);
    this.#events.applied(ready);
    const more = raft.log.readable > raft.log.applied;
    if (more && !this.#isApplyPaused && !this.#events.isRestoring()) this.wake();
  }

  /** While a follower writes, its leader waits: it applies in slices and looks between them whether the write is done. */
  #committedBytesMax(): number {
    const { raft, tuning } = this.#context;
    if (this.#isApplyPaused) return 0;
    const isAwaited = raft.role !== "leader" && (this.#saver.isBusy || raft.log.hasUnsaved);
    return isAwaited ? tuning.applySliceBytes : tuning.applyBytesMax;
  }

  #onSaved(save: Save, promises: readonly Message[]): void {
    const { raft, transport } = this.#context;
    transport.send(promises);
    raft.step({ type: "saved", save });
    if (promises.length === 0) this.#carryOut();
    else this.wake(); // the promises leave the process first: gRPC writes them when this call has returned
  }

  #apply({ committed, reads }: Ready): void {
    if (committed.length > 0) {
      const outcomes = this.#machine.apply(committed);
      this.#applied = this.#context.raft.log.applied;
      for (const [i, { index }] of committed.entries()) this.proposals.applied(index, outcomes[i]);
    }
    for (const read of reads) this.#reads.answered(read);
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
