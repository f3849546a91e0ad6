import { Refusals } from "../proto/refusals.ts";
import type { Group, GroupEntry, GroupMember, GroupStatus, MembershipResult, Proposed, StateMachine } from "./group.ts";
import type { LogStore } from "./log-store.ts";
import {
  type Configuration,
  firstConfiguration,
  type MembershipChange,
  UNKNOWN_CONFIGURATION,
} from "./raft/configuration.ts";
import { leaseDurationMs } from "./raft/lease.ts";
import type { Message } from "./raft/messages.ts";
import { Raft, type Ready, type Save, type SnapshotPosition } from "./raft/raft.ts";
import type { Fetch } from "./raft/state.ts";
import { planCut } from "./runtime/compaction.ts";
import type { GroupOptions } from "./runtime/group-options.ts";
import { IncomingSnapshots } from "./runtime/incoming-snapshots.ts";
import { addressed, furthestVoter, membershipOf, membersProgress, proposeChange } from "./runtime/membership.ts";
import { OutgoingSnapshots } from "./runtime/outgoing-snapshots.ts";
import { ProposalQueue } from "./runtime/proposal-queue.ts";
import { readCommitted } from "./runtime/read-committed.ts";
import { ReadIndexQueue } from "./runtime/read-index-queue.ts";
import { recover } from "./runtime/recover.ts";
import { Saver } from "./runtime/saver.ts";
import { processTimers, type Timers } from "./runtime/timers.ts";
import { DEFAULT_TUNING, type GroupTuning } from "./runtime/tuning.ts";
import { StorageError } from "./storage-error.ts";
import type { SnapshotHeader, SnapshotIntake, Transport } from "./transport/transport.ts";

/** Between two tries to send a member what it lacks. */
const SNAPSHOT_AGAIN_MS = 500;

/** Recovers from the disk, then takes part. The group owns log, machine and transport from here on, and closes them. */
export async function openGroup(options: GroupOptions): Promise<Group> {
  const tuning = { ...DEFAULT_TUNING, ...options.tuning };
  const first = options.join === true ? UNKNOWN_CONFIGURATION : firstConfiguration(options.members);
  const start = await recover(options.log, options.machine, first, tuning);
  const raft = new Raft(
    {
      self: options.self,
      electionTicks: tuning.electionTicks,
      heartbeatTicks: 1,
      random: options.random ?? Math.random,
      appendBytesMax: tuning.appendBytesMax,
      window: tuning.window,
      leaseMs: options.lease && leaseDurationMs({ ...tuning, ...options.lease }),
    },
    start,
  );
  return new RaftGroup(options, tuning, raft);
}

class RaftGroup implements Group {
  readonly member: GroupMember;
  readonly #options: GroupOptions;
  readonly #tuning: GroupTuning;
  readonly #raft: Raft;
  readonly #log: LogStore;
  readonly #machine: StateMachine;
  readonly #transport: Transport;
  readonly #timers: Timers;
  readonly #saver: Saver;
  readonly #proposals: ProposalQueue;
  readonly #reads: ReadIndexQueue;
  readonly #refusals: Refusals;
  readonly #listeners = new Set<(status: GroupStatus) => void>();
  readonly #cancelTimers: (() => void)[];
  readonly #outgoing: OutgoingSnapshots;
  readonly #incoming: IncomingSnapshots;
  #messages: Message[] = [];
  #ticks = 0;
  #turnWanted = false;
  #applied: number;
  /** The machine has no room for another turn. */
  #applyPaused = false;
  #cutting: Promise<void> | undefined;
  #stopped = false;
  #lastSeen = "";
  /** Whose members the transport was told. */
  #configuration: Configuration | undefined;

  constructor(options: GroupOptions, tuning: GroupTuning, raft: Raft) {
    this.member = options.members.find(({ id }) => id === options.self)!;
    this.#options = options;
    this.#tuning = tuning;
    this.#raft = raft;
    this.#log = options.log;
    this.#machine = options.machine;
    this.#transport = options.transport;
    this.#timers = options.timers ?? processTimers;
    this.#applied = options.machine.appliedIndex;
    this.#refusals = options.refusals ?? new Refusals(options.logger);
    this.#proposals = new ProposalQueue(tuning.proposalsMax);
    const { random = Math.random, log, machine, transport, logger } = options;
    this.#reads = new ReadIndexQueue(Math.floor(random() * 2 ** 40));
    const snapshots = {
      raft,
      log,
      machine,
      transport,
      logger,
      random,
      timers: this.#timers,
      keepMs: tuning.snapshotKeepMs,
    };
    this.#outgoing = new OutgoingSnapshots(snapshots);
    this.#incoming = new IncomingSnapshots({
      ...snapshots,
      idle: () => this.#saver.idle(),
      onRestoring: (leader, term) => this.#input(() => raft.step({ type: "restoring", leader, term })),
      onRestored: (to) => this.#restored(to),
      onBroken: (error) => this.#fail(error),
      refusals: this.#refusals,
    });
    this.#saver = new Saver(options.log, {
      saved: (save, promises) => this.#guard(() => this.#saved(save, promises)),
      failed: (error) => this.#fail(error),
    });
    this.#cancelTimers = [
      this.#timers.every(tuning.tickMs, () => this.#tick()),
      this.#timers.every(tuning.cutEveryMs, () => this.#guard(() => this.#cut())),
    ];
    this.#transport.start({
      receive: (messages) => this.#receive(messages),
      unreachable: (peer) => this.#input(() => raft.step({ type: "unreachable", peer })),
      receiveSnapshot: (from, header) => this.#receiveSnapshot(from, header),
    });
    this.#followConfiguration();
    this.#wantTurn();
  }

  get leading(): boolean {
    return !this.#stopped && this.#raft.role === "leader" && this.#applied >= this.#raft.termStart;
  }

  get firstIndex(): number {
    return this.#raft.log.firstIndex;
  }

  get commitIndex(): number {
    return this.#raft.log.readable;
  }

  get refused(): Readonly<Record<string, number>> {
    return this.#refusals.counts;
  }

  status(): GroupStatus {
    const { role, term, leader, log } = this.#raft;
    const { members: named } = this.#options;
    const members = membersProgress(this.#raft, named, this.#outgoing, this.#tuning.electionTicks);
    const membership = membershipOf(this.#raft);
    return { role, term, leader, commit: log.commit, applied: this.#applied, members, membership };
  }

  propose(data: Uint8Array, done: (result: Proposed) => void): void {
    if (data.length > this.#tuning.entryBytesMax)
      throw new RangeError(`an entry of ${data.length} bytes is over the limit of ${this.#tuning.entryBytesMax}`);
    if (this.#stopped) this.#timers.soon(() => done({ ok: false, reason: "not-leader" }));
    else if (this.#proposals.isFull) this.#timers.soon(() => done({ ok: false, reason: "busy" }));
    else {
      this.#proposals.queue(data, done);
      this.#wantTurn();
    }
  }

  readIndex(done: (confirmed: boolean) => void): void {
    if (this.#stopped) {
      this.#timers.soon(() => done(false));
      return;
    }
    this.#tellTime();
    if (this.#raft.isReadable && this.#raft.log.commit <= this.#applied) {
      done(true);
      return;
    }
    this.#reads.gather(done);
    this.#wantTurn();
  }

  readLog(from: number, bytesMax: number): Promise<readonly GroupEntry[]> {
    return readCommitted(this.#raft, this.#log, from, bytesMax).catch((error: Error) => {
      if (error instanceof StorageError) this.#fail(error);
      throw error;
    });
  }

  onChange(listener: (status: GroupStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  transferLeadership(): Promise<boolean> {
    const to = this.#raft.role === "leader" ? furthestVoter(this.status().members, this.#options.self) : undefined;
    if (to === undefined) return Promise.resolve(false);
    const { term } = this.#raft;
    return new Promise((resolve) => {
      const settle = (handed: boolean) => {
        unsubscribe();
        cancel();
        this.#options.logger.info({ to, handed }, "raft: leadership is handed over");
        resolve(handed);
      };
      const cancel = this.#timers.after(this.#tuning.electionTicks * this.#tuning.tickMs, () => settle(false));
      const unsubscribe = this.onChange((status) => {
        if (status.role !== "leader" || status.term !== term) settle(true);
      });
      this.#input(() => this.#raft.step({ type: "transfer", to }));
    });
  }

  changeMembership(change: MembershipChange): Promise<MembershipResult> {
    if (this.#stopped) return Promise.resolve({ ok: false, reason: "not-leader", message: "this member has stopped" });
    return new Promise((done) => {
      this.#input(() => proposeChange(this.#raft, this.#proposals, change, done));
    });
  }

  async stop(): Promise<void> {
    if (!this.#stopped) await this.transferLeadership();
    this.#end();
    await this.#transport.stop();
    await this.#incoming.installing;
    await this.#outgoing.stop();
    await this.#saver.idle();
    await this.#cutting;
    await this.#log.close();
    await this.#machine.close();
  }

  // The turn: what has come in is stepped, then what follows from it is carried out.

  #wantTurn(): void {
    if (this.#turnWanted) return;
    this.#turnWanted = true;
    this.#timers.soon(() => {
      this.#turnWanted = false;
      this.#guard(() => this.#turn());
    });
  }

  #tellTime(): void {
    const { lease } = this.#options;
    if (lease !== undefined) this.#raft.step({ type: "clock", nowMs: lease.nowMs() });
  }

  #turn(): void {
    this.#tellTime();
    for (; this.#ticks > 0; this.#ticks--) this.#raft.step({ type: "tick" });
    const messages = this.#messages;
    this.#messages = [];
    for (const message of messages) {
      if (this.#raft.contradicts(message))
        this.#refusals.note(
          "impossible",
          message.from,
          `${message.type} in the term of another, or against what is committed`,
        );
      else this.#raft.step({ type: "message", message });
    }
    this.#proposeQueued();
    const read = this.#reads.ask();
    if (read !== undefined) this.#raft.step({ type: "readIndex", id: read });
    this.#carryOut();
  }

  #proposeQueued(): void {
    const raft = this.#raft;
    const data = this.#proposals.queuedData;
    if (data.length === 0) return;
    if (!raft.accepting) {
      this.#proposals.refuseQueued();
      return;
    }
    this.#proposals.leaveTerm(raft.term);
    const first = raft.log.lastIndex + 1;
    raft.step({ type: "propose", data });
    this.#proposals.appended(first, raft.term);
  }

  #carryOut(): void {
    const raft = this.#raft;
    // While a follower writes, its leader waits: it applies in slices and looks between them whether the write is done.
    const isAwaited = raft.role !== "leader" && (this.#saver.isBusy || raft.log.hasUnsaved);
    const { applySliceBytes, applyBytesMax } = this.#tuning;
    const ready = raft.takeReady(this.#applyPaused ? 0 : isAwaited ? applySliceBytes : applyBytesMax);
    this.#followConfiguration();
    this.#transport.send(ready.messages); // claim nothing that is not yet durable here
    this.#transport.send(this.#saver.add(ready.save, ready.promises)); // claims go behind the write
    this.#proposals.leaveTerm(raft.role === "leader" ? raft.term : undefined);
    this.#apply(ready);
    for (const fetch of ready.fetches) void this.#fetch(fetch);
    for (const to of ready.snapshotsFor) void this.#sendSnapshot(to);
    this.#incoming.check();
    this.#tellChange();
    const more = raft.log.readable > raft.log.applied;
    if (more && !this.#applyPaused && this.#incoming.installing === undefined) this.#wantTurn();
  }

  #followConfiguration(): void {
    const { configuration } = this.#raft.log;
    if (configuration === this.#configuration) return;
    this.#configuration = configuration;
    const members = addressed(configuration, this.#options.members);
    this.#transport.setPeers(members.filter(({ id }) => id !== this.#options.self));
    this.#options.logger.info({ members, since: configuration.index }, "raft: members");
  }

  #saved(save: Save, promises: readonly Message[]): void {
    this.#transport.send(promises);
    this.#raft.step({ type: "saved", save });
    if (promises.length === 0) this.#carryOut();
    else this.#wantTurn(); // what was promised leaves the process first: gRPC writes it when this call is over
  }

  #apply({ committed, reads }: Ready): void {
    if (committed.length > 0) {
      const outcomes = this.#machine.apply(committed);
      this.#applied = this.#raft.log.applied;
      for (const [i, { index }] of committed.entries()) this.#proposals.applied(index, outcomes[i]);
    }
    for (const read of reads) this.#reads.answered(read);
    this.#reads.applied(this.#applied);
    const room = committed.length > 0 ? this.#machine.ready() : undefined;
    if (room === undefined) return;
    this.#applyPaused = true;
    room.then(
      () =>
        this.#input(() => {
          this.#applyPaused = false;
        }),
      (error) => this.#fail(error),
    );
  }

  // Inputs.

  /** What is not gathered is stepped at once and carried out with the next turn. */
  #input(step: () => void): void {
    this.#guard(step);
    this.#wantTurn();
  }

  #tick(): void {
    this.#ticks++;
    this.#wantTurn();
  }

  #receive(messages: readonly Message[]): void {
    const termMax = this.#raft.term + this.#tuning.termLeapMax;
    for (const message of messages) {
      if (message.term <= termMax) this.#messages.push(message);
      else
        this.#refusals.note(
          "term",
          message.from,
          `term ${message.term} comes from nowhere, here it is ${this.#raft.term}`,
        );
    }
    this.#wantTurn();
  }

  async #fetch({ to, from, through, bytesMax }: Fetch): Promise<void> {
    const { term } = this.#raft;
    try {
      const entries = await this.#log.read(from, through, bytesMax);
      this.#input(() => this.#raft.step({ type: "fetched", term, to, from, entries }));
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  async #sendSnapshot(to: number): Promise<void> {
    let index: number | undefined;
    try {
      index = await this.#outgoing.send(to);
    } catch (error) {
      if (error instanceof StorageError) return this.#fail(error);
      this.#options.logger.warn({ to, reason: (error as Error).message }, "raft: a snapshot was not delivered");
      await new Promise<void>((resolve) => this.#timers.after(SNAPSHOT_AGAIN_MS, resolve));
    }
    this.#input(() => this.#raft.step({ type: "snapshotSent", to, index }));
  }

  #receiveSnapshot(from: number, header: SnapshotHeader): SnapshotIntake | undefined {
    if (this.#stopped || this.#cutting !== undefined) throw new Error("busy");
    return this.#incoming.receive(from, header);
  }

  #restored(to: SnapshotPosition | undefined): void {
    if (to !== undefined) this.#applied = to.at.index;
    this.#input(() => this.#raft.step({ type: "restored", to }));
  }

  #cut(): void {
    if (this.#incoming.installing !== undefined || this.#cutting !== undefined) return;
    const through = planCut(this.#raft, this.#machine, this.#outgoing.pins, this.#tuning);
    if (through === undefined) return;
    this.#raft.step({ type: "cut", through });
    this.#cutting = this.#log.cut(this.#raft.log.base).then(
      () => {
        this.#cutting = undefined;
      },
      (error) => this.#fail(error),
    );
  }

  #tellChange(): void {
    const { role, term, leader } = this.#raft;
    const membership = membershipOf(this.#raft);
    const seen = `${role} ${term} ${leader} ${this.leading} ${membership} ${this.#configuration?.index}`;
    if (seen === this.#lastSeen) return;
    this.#lastSeen = seen;
    this.#options.logger.info({ role, term, leader, leading: this.leading, membership }, "raft: role");
    if (membership === "removed") this.#options.logger.warn("raft: this server was removed from its group: stop it");
    const status = this.status();
    for (const listener of [...this.#listeners]) listener(status);
  }

  #guard(run: () => void): void {
    if (this.#stopped) return;
    try {
      run();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  #fail(error: Error): void {
    if (this.#stopped) return;
    this.#end();
    this.#options.logger.fatal(error.message);
    this.#options.onFatal(error);
  }

  /** Nothing is sent, saved or applied after this. */
  #end(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    for (const cancel of this.#cancelTimers) cancel();
    this.#proposals.refuseQueued();
    this.#proposals.leaveTerm(undefined);
    this.#reads.failAll();
    this.#incoming.giveUp("this member stops");
  }
}
