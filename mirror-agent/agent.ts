import type { Logger } from "pino";
import { spreadMs } from "../base/waiting.ts";
import type { Slice } from "../core/commands.ts";
import type { SliceId } from "../core/ids.ts";
import type { PendingSlices } from "../proto/generated/agent.ts";
import type { Copier, CopyOutcome } from "./copier.ts";
import type { Plan } from "./plan.ts";
import type { CopyQueue, RunningJob } from "./queue.ts";
import { messageOf } from "./reachability.ts";
import type { Reporter } from "./report.ts";

export interface AgentOptions {
  readonly plan: Plan;
  readonly copier: Copier;
  readonly reporter: Reporter;
  readonly openQueue: (run: (job: RunningJob) => Promise<void>) => CopyQueue;
  readonly decode: (bytes: Uint8Array) => Slice;
  /** Asks the metadata to list all pending slices again. */
  readonly rewalk: () => void;
  readonly logger: Logger;
  readonly tickMs?: number;
  /** All pending slices are listed again this often, in case a push was missed. */
  readonly rewalkMs?: number;
}

export interface AgentCounts {
  readonly pending: number;
  readonly pendingBytes: number;
  readonly queued: number;
  readonly parked: number;
  readonly running: number;
  readonly unreported: number;
  readonly copiedBlocks: number;
  readonly copiedBytes: number;
  readonly failures: number;
}

const FILL_DELAY_MS = 5;
/** Most slices remembered that are no longer pending (deleted, or copied by another agent): Redis may still have jobs for them. */
const GONE_MAX = 100_000;
/** Failures after which the metadata shows a slice as parked. The first is enough when the slice itself is at fault. */
const PARKED_FROM = 3;

/** Connects the parts: puts pending slices into the queue by the plan, copies the queue's jobs, and reports the results. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #queue: CopyQueue;
  readonly #running = new Map<SliceId, number>();
  readonly #gone = new Set<SliceId>();
  readonly #abort = new AbortController();
  #filling = false;
  #again = false;
  #reconcileDue = true;
  #closed = false;
  #timers: NodeJS.Timeout[] = [];
  #copiedBlocks = 0;
  #copiedBytes = 0;
  #failures = 0;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#queue = options.openQueue((job) => this.#work(job));
    const tick = setInterval(() => {
      this.#reconcileDue = true;
      if (options.plan.wantsWalk) options.rewalk();
      this.fill();
    }, options.tickMs ?? 1_000);
    const walk = setInterval(options.rewalk, spreadMs(options.rewalkMs ?? 600_000));
    this.#timers = [tick, walk];
  }

  counts(): AgentCounts {
    const { queued, parked, bytes } = this.#options.plan.count();
    return {
      pending: this.#options.plan.known,
      pendingBytes: bytes,
      queued,
      parked,
      running: this.#running.size,
      unreported: this.#options.reporter.unacknowledged,
      copiedBlocks: this.#copiedBlocks,
      copiedBytes: this.#copiedBytes,
      failures: this.#failures,
    };
  }

  walk(): void {
    this.#options.plan.beginWalk();
  }

  /** Handles a batch of pending slices from the metadata. */
  see(batch: PendingSlices): void {
    for (const pending of batch.slices) {
      const id = pending.id as SliceId;
      if (pending.gone) {
        this.#forgetGone(id);
        continue;
      }
      // It may have become pending again, because a reader found a block of it missing.
      this.#gone.delete(id);
      this.#options.plan.see({
        slice: this.#options.decode(pending.slice),
        sinceMs: pending.sinceMs,
        urgent: pending.urgent,
      });
    }
    if (batch.caughtUp) this.#options.plan.endWalk();
    this.fill();
  }

  acknowledged(slices: readonly SliceId[]): void {
    for (const id of slices) this.#options.plan.forget(id);
    this.fill();
  }

  /** @returns a test of whether a copy of a slice may be running or waiting at any agent of this region. */
  async busy(): Promise<(slice: SliceId) => boolean> {
    const held = await this.#queue.held();
    return (slice) => held.has(slice) || this.#running.has(slice);
  }

  /** Schedules one filling of the queue, a few milliseconds later, for all calls until then. */
  fill(): void {
    if (this.#closed) return;
    this.#again = true;
    if (this.#filling) return;
    this.#filling = true;
    setTimeout(() => void this.#fillUp(), FILL_DELAY_MS);
  }

  /** Takes no new jobs; gives running ones `graceMs`, then leaves them to the other agents. */
  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    const abort = setTimeout(() => this.#abort.abort(new Error("closed")), graceMs);
    await this.#queue.close(graceMs + 500);
    clearTimeout(abort);
    this.#abort.abort(new Error("closed"));
  }

  /** Runs one at a time. While Redis does not answer it blocks here, and continues as soon as Redis does. */
  async #fillUp(): Promise<void> {
    try {
      while (this.#again && !this.#closed) {
        this.#again = false;
        await this.#reconcile();
        await this.#fillOnce();
      }
    } catch (error) {
      // The next tick retries.
      if (!this.#closed) this.#options.logger.warn({ reason: messageOf(error) }, "the queue could not be filled");
    } finally {
      this.#filling = false;
    }
  }

  async #reconcile(): Promise<void> {
    if (!this.#reconcileDue) return;
    this.#reconcileDue = false;
    const held = await this.#queue.held();
    for (const id of this.#running.keys()) held.add(id);
    this.#options.plan.reconcile(held, Date.now());
  }

  async #fillOnce(): Promise<void> {
    const { plan, copier } = this.#options;
    const { add, promote } = plan.take(Date.now(), (home) => copier.canFetch(home));
    try {
      await this.#queue.add(add);
    } catch (error) {
      plan.notQueued(add);
      throw error;
    }
    await this.#queue.promote(promote);
  }

  async #work(job: RunningJob): Promise<void> {
    const settled = await Promise.all(job.slices.map((slice) => this.#copy(slice, job)));
    // An error removes the job from the queue; an agent that still has its slices pending puts them in again.
    if (!settled.every(Boolean)) throw new Error("closed");
  }

  /** @returns false when the copy was aborted because this agent closes. */
  async #copy(slice: Slice, { check, urgent }: RunningJob): Promise<boolean> {
    const { id } = slice;
    if (this.#gone.has(id)) return true;
    this.#running.set(id, (this.#running.get(id) ?? 0) + 1);
    try {
      const outcome = await this.#options.copier.copy(slice, { check, urgent, signal: this.#abort.signal });
      if (!outcome.resident && this.#abort.signal.aborted) return false;
      this.#settle(slice, outcome);
      return true;
    } finally {
      const left = this.#running.get(id)! - 1;
      if (left === 0) this.#running.delete(id);
      else this.#running.set(id, left);
    }
  }

  #settle(slice: Slice, outcome: CopyOutcome): void {
    const { plan, reporter, logger } = this.#options;
    if (outcome.resident) {
      this.#copiedBlocks += outcome.copiedBlocks;
      this.#copiedBytes += outcome.copiedBytes;
      plan.copied(slice.id);
      reporter.resident(slice.id);
      return;
    }
    this.#failures++;
    const { failures, pauseMs } = plan.failed(slice.id, outcome.blame, Date.now());
    const parked = outcome.blame === "slice" || failures >= PARKED_FROM;
    logger.warn({ slice: slice.id, reason: outcome.reason, failures, pauseMs }, "a slice could not be copied");
    reporter.failed({ id: slice.id, reason: outcome.reason, attempts: failures, parked });
  }

  #forgetGone(id: SliceId): void {
    this.#options.plan.forget(id);
    this.#gone.add(id);
    if (this.#gone.size > GONE_MAX) this.#gone.delete(this.#gone.values().next().value!);
  }
}
