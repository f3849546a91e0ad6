import { Refusals } from "../proto/refusals.ts";
import type { Group, GroupEntry, GroupMember, GroupStatus, MembershipResult, Proposed } from "./group.ts";
import { firstConfiguration, type MembershipChange, UNKNOWN_CONFIGURATION } from "./raft/configuration.ts";
import { leaseDurationMs } from "./raft/lease.ts";
import { Raft } from "./raft/raft.ts";
import { CatchUp } from "./runtime/catch-up.ts";
import { Compaction } from "./runtime/compaction.ts";
import type { GroupContext, GroupOptions } from "./runtime/group-options.ts";
import { IncomingSnapshots } from "./runtime/incoming-snapshots.ts";
import { Lifecycle } from "./runtime/lifecycle.ts";
import { furthestVoter, membershipOf, membersProgress, proposeChange } from "./runtime/membership.ts";
import { readCommitted } from "./runtime/read-committed.ts";
import { ReadyLoop } from "./runtime/ready-loop.ts";
import { recover } from "./runtime/recover.ts";
import { StatusFeed } from "./runtime/status-feed.ts";
import { processTimers } from "./runtime/timers.ts";
import { DEFAULT_TUNING, type GroupTuning } from "./runtime/tuning.ts";
import { StorageError } from "./storage-error.ts";
import type { SnapshotHeader, SnapshotIntake } from "./transport/transport.ts";

/**
 * Recovers from the disk and starts the member. The group owns log, machine and transport from here on, and closes them.
 * @throws StorageError when log and state do not belong together
 */
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

/** Wires the core, the disk, the network and the machine together. The turn itself is in ReadyLoop. */
class RaftGroup implements Group {
  readonly member: GroupMember;
  readonly #named: readonly GroupMember[];
  readonly #context: GroupContext;
  readonly #loop: ReadyLoop;
  readonly #catchUp: CatchUp;
  readonly #incoming: IncomingSnapshots;
  readonly #compaction: Compaction;
  readonly #feed: StatusFeed;
  readonly #cancelTimers: (() => void)[];

  constructor(options: GroupOptions, tuning: GroupTuning, raft: Raft) {
    const { log, machine, transport, logger, onFatal, random = Math.random, timers = processTimers } = options;
    const { refusals = new Refusals(logger) } = options;
    const lifecycle = new Lifecycle({ logger, onFatal, onEnd: () => this.#onEnd() });
    const context = { raft, log, machine, transport, timers, random, logger, refusals, tuning, lifecycle };
    this.member = options.members.find(({ id }) => id === options.self)!;
    this.#named = options.members;
    this.#context = context;
    this.#loop = new ReadyLoop(context, options.lease, {
      stepped: () => this.#feed.updatePeers(),
      applied: (ready) => {
        this.#catchUp.start(ready);
        this.#incoming.check();
        this.#feed.notify();
      },
      isRestoring: () => this.#incoming.installing !== undefined,
    });
    this.#catchUp = new CatchUp(context, (input) => this.#loop.step(input));
    this.#incoming = new IncomingSnapshots({
      ...context,
      keepMs: tuning.snapshotKeepMs,
      idle: () => this.#loop.idle(),
      onCommitted: (at) => this.#loop.step({ type: "committed", at }),
      onRestoring: (leader, term) => this.#loop.step({ type: "restoring", leader, term }),
      onRestored: (to) => this.#loop.restored(to),
      onFatal: (error) => lifecycle.fail(error),
    });
    this.#compaction = new Compaction(context);
    this.#feed = new StatusFeed(context, options.members, this);
    this.#cancelTimers = [
      timers.every(tuning.tickMs, () => this.#loop.tick()),
      timers.every(tuning.cutEveryMs, () => lifecycle.guard(() => this.#cut())),
    ];
    transport.start({
      receive: (messages) => this.#loop.receive(messages),
      unreachable: (peer) => this.#loop.step({ type: "unreachable", peer }),
      receiveSnapshot: (from, header) => this.#receiveSnapshot(from, header),
    });
    this.#feed.updatePeers();
    this.#loop.wake();
  }

  get leading(): boolean {
    const { raft, lifecycle } = this.#context;
    return !lifecycle.stopped && raft.role === "leader" && this.#loop.applied >= raft.termStart;
  }

  get firstIndex(): number {
    return this.#context.raft.log.firstIndex;
  }

  get commitIndex(): number {
    return this.#context.raft.log.readable;
  }

  get refused(): Readonly<Record<string, number>> {
    return this.#context.refusals.counts;
  }

  status(): GroupStatus {
    const { raft, tuning } = this.#context;
    const { role, term, leader, log } = raft;
    const members = membersProgress(raft, this.#named, this.#catchUp.outgoing, tuning.electionTicks);
    const membership = membershipOf(raft);
    return { role, term, leader, commit: log.commit, applied: this.#loop.applied, members, membership };
  }

  propose(data: Uint8Array, done: (result: Proposed) => void): void {
    const { lifecycle, timers, tuning } = this.#context;
    const { proposals } = this.#loop;
    if (data.length > tuning.entryBytesMax)
      throw new RangeError(`an entry of ${data.length} bytes is over the limit of ${tuning.entryBytesMax}`);
    if (lifecycle.stopped) timers.soon(() => done({ ok: false, reason: "not-leader" }));
    else if (proposals.isFull) timers.soon(() => done({ ok: false, reason: "busy" }));
    else {
      proposals.queue(data, done);
      this.#loop.wake();
    }
  }

  readIndex(done: (confirmed: boolean) => void): void {
    const { lifecycle, timers } = this.#context;
    if (lifecycle.stopped) timers.soon(() => done(false));
    else this.#loop.readIndex(done);
  }

  readLog(from: number, bytesMax: number): Promise<readonly GroupEntry[]> {
    const { raft, log, lifecycle } = this.#context;
    return readCommitted(raft, log, from, bytesMax).catch((error: Error) => {
      if (error instanceof StorageError) lifecycle.fail(error);
      throw error;
    });
  }

  onChange(listener: (status: GroupStatus) => void): () => void {
    return this.#feed.subscribe(listener);
  }

  transferLeadership(): Promise<boolean> {
    const { raft, logger, timers, tuning } = this.#context;
    const { role, term } = raft;
    const to = role === "leader" ? furthestVoter(this.status().members, raft.id) : undefined;
    if (to === undefined) return Promise.resolve(false);
    return new Promise((resolve) => {
      const settle = (transferred: boolean) => {
        unsubscribe();
        cancel();
        logger.info({ to, transferred }, "raft: leadership transfer ended");
        resolve(transferred);
      };
      const cancel = timers.after(tuning.electionTicks * tuning.tickMs, () => settle(false));
      const unsubscribe = this.onChange((status) => {
        if (status.role !== "leader" || status.term !== term) settle(true);
      });
      this.#loop.step({ type: "transfer", to });
    });
  }

  changeMembership(change: MembershipChange): Promise<MembershipResult> {
    const { raft, lifecycle } = this.#context;
    if (lifecycle.stopped)
      return Promise.resolve({ ok: false, reason: "not-leader", message: "this member has stopped" });
    return new Promise((done) => {
      this.#loop.input(() => proposeChange(raft, this.#loop.proposals, change, done));
    });
  }

  async stop(): Promise<void> {
    const { lifecycle, transport, log, machine } = this.#context;
    if (!lifecycle.stopped) await this.transferLeadership();
    lifecycle.end();
    await transport.stop();
    await this.#incoming.installing;
    await this.#catchUp.outgoing.stop();
    await this.#loop.idle();
    await this.#compaction.cutting;
    await log.close();
    await machine.close();
  }

  /** Busy while the log is being compacted: a snapshot replaces the log. */
  #receiveSnapshot(from: number, header: SnapshotHeader): SnapshotIntake | undefined {
    if (this.#context.lifecycle.stopped || this.#compaction.cutting !== undefined) throw new Error("busy");
    return this.#incoming.receive(from, header);
  }

  #cut(): void {
    if (this.#incoming.installing === undefined) this.#compaction.cut(this.#catchUp.outgoing.pins);
  }

  #onEnd(): void {
    for (const cancel of this.#cancelTimers) cancel();
    this.#loop.failAll();
    this.#incoming.abort("this member is stopping");
  }
}
