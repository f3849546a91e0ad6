import { status } from "@grpc/grpc-js";
import { tooOld } from "../../../core/features.ts";
import type { RegionIndex, SliceId } from "../../../core/ids.ts";
import { regionNames } from "../../../core/regions.ts";
import type {
  AgentAnswer,
  AgentServer,
  FailedSlice,
  GarbageSlices,
  RegionsAnswer,
  RevokedGrants,
} from "../../../proto/generated/agent.ts";
import type { LocalEntry } from "../../machine/local-entries.ts";
import {
  decodeGarbage,
  decodeRecord,
  garbageKey,
  garbagePrefix,
  type Pending,
  type RevokedIds,
  revokedKey,
  revokedPrefix,
} from "../../machine/local-keys.ts";
import type { ServerContext } from "../../region/context.ts";
import { asBuffer } from "../metadata/responses.ts";
import { checkRequest, failStream, RefusedCall, serviceError, unary } from "../unary.ts";
import { PendingWatch } from "./pending-watch.ts";

const GARBAGE_PAGE_MAX = 1_000;

/** The service of the region's agents: what is to be copied and deleted, and their reports of it. */
export class AgentService {
  readonly #context: ServerContext;
  readonly #watches = new Set<PendingWatch>();
  /** The last report about each slice that an agent could not copy. Kept in memory only: agents report it again. */
  readonly #failed = new Map<number, FailedSlice>();
  /** Slices of which a reader missed a block, while that is being committed. */
  readonly #committingMissing = new Set<number>();

  constructor(context: ServerContext) {
    this.#context = context;
    context.machine.onTurn((turn) => {
      for (const id of turn.pendingGone) this.#failed.delete(id);
      if (turn.flipped) this.endStreams();
      for (const watch of this.#watches) {
        if (turn.pendingAdded.length > 0) watch.added(turn.pendingAdded);
        if (turn.pendingGone.length > 0) watch.gone(turn.pendingGone);
      }
    });
    this.handlers = this.#makeHandlers();
  }

  readonly handlers: AgentServer;

  /** How many slices could not be copied and are parked until a later retry. */
  get failedSlices(): number {
    return [...this.#failed.values()].filter(({ parked }) => parked).length;
  }

  /**
   * A reader of this region found that its bucket lacks a block of each of these: pending ones are copied first, others
   * become pending.
   */
  requestBlocks(slices: readonly number[]): void {
    const { facts } = this.#context.machine;
    this.#makeUrgent(slices);
    const missed = slices.filter((slice) => !facts.isPending(slice) && this.#mayBeElsewhere(slice));
    if (missed.length > 0) void this.#commitMissing(missed);
  }

  #makeUrgent(slices: readonly number[]): void {
    const pending = slices.map((slice) => this.#context.machine.facts.pending(slice)).filter(isPending);
    if (pending.length === 0) return;
    for (const watch of this.#watches) watch.urgent(pending);
  }

  /** Whether another region may have a copy; also of a slice whose home is here, since the others have copied it. */
  #mayBeElsewhere(slice: number): boolean {
    const { tree } = this.#context.machine;
    return (
      !this.#committingMissing.has(slice) &&
      (tree.volume?.regions.length ?? 0) > 1 &&
      tree.slice(slice as SliceId) !== undefined
    );
  }

  async #commitMissing(slices: readonly number[]): Promise<void> {
    for (const slice of slices) this.#committingMissing.add(slice);
    const { ok } = await this.#commit({ kind: "missing", slices, nowMs: Date.now() }, slices);
    for (const slice of slices) this.#committingMissing.delete(slice);
    if (!ok) return;
    this.#context.logger.warn(
      { slices },
      "this region's bucket lacks blocks that were counted as resident: they are copied again",
    );
    this.#makeUrgent(slices);
  }

  endStreams(): void {
    for (const watch of [...this.#watches]) watch.end();
    this.#watches.clear();
  }

  #makeHandlers(): AgentServer {
    const context = this.#context;
    const leader = { onlyLeader: true };
    return {
      regions: unary(context, { onlyLeader: false }, ({ supports }) => {
        this.#requireSupport(supports);
        return this.#regions();
      }),
      watchPending: (stream) => {
        try {
          checkRequest(context, stream.request, true);
          this.#requireSupport(stream.request.supports);
        } catch (error) {
          failStream(stream, serviceError(context, error as Error));
          return;
        }
        this.#watches.add(new PendingWatch(context, stream, (watch) => this.#watches.delete(watch)));
      },
      reportResident: unary(context, leader, ({ slices, failed }) => {
        for (const one of failed) this.#failed.set(one.id, one);
        return this.#commit({ kind: "resident", slices }, slices);
      }),
      listGarbage: unary(context, leader, ({ after, limit }) => this.#garbage(after, limit)),
      reportCollected: unary(context, leader, ({ slices }) => this.#commit({ kind: "collected", slices }, slices)),
      listRevoked: unary(context, leader, ({ after, limit }) => this.#revoked(after, limit)),
      reportSwept: unary(context, leader, ({ firsts }) => this.#commit({ kind: "swept", firsts }, firsts)),
      reportMissing: unary(context, leader, ({ slices }) =>
        this.#commit({ kind: "missing", slices, nowMs: Date.now() }, slices),
      ),
    };
  }

  #requireSupport(supports: number): void {
    const reason = tooOld(this.#context.machine.tree.features, supports);
    if (reason !== undefined) throw new RefusedCall(status.FAILED_PRECONDITION, reason);
  }

  #regions(): RegionsAnswer {
    const { tree, primary, regionIndex } = this.#context.machine;
    if (tree.volume === undefined) throw new RefusedCall(status.UNAVAILABLE, "the volume is not formatted yet");
    if (regionIndex === undefined) {
      throw new RefusedCall(status.FAILED_PRECONDITION, `the volume has no region ${this.#context.region}`);
    }
    return { uuid: tree.volume.uuid, regions: regionNames(tree.volume), own: regionIndex, primary };
  }

  async #commit(entry: LocalEntry, about: readonly number[]): Promise<AgentAnswer> {
    if (about.length === 0) return { ok: true, message: "" };
    const ok = await this.#context.proposer.local(entry);
    return { ok, message: ok ? "" : "the report was not committed: send it again" };
  }

  /** Slices that have been garbage for `gc.graceMs`, in the state that every region has applied. */
  async #garbage(after: number, limit: number): Promise<GarbageSlices> {
    const applied = this.#appliedEverywhere();
    const oldestMs = this.#oldestMs();
    const { generation } = this.#context.machine.facts;
    const from = after === 0 ? undefined : garbageKey(generation, after);
    const slices = await this.#page(garbagePrefix(generation), from, limit, (value) => {
      const { slice, sequence, sinceMs, record } = decodeGarbage(value);
      return sequence > applied || sinceMs > oldestMs ? undefined : { id: slice, slice: asBuffer(record) };
    });
    return { slices };
  }

  /** Ranges of ids that were revoked at least `gc.graceMs` ago: uploads that were under way have ended by then. */
  async #revoked(after: number, limit: number): Promise<RevokedGrants> {
    const oldestMs = this.#oldestMs();
    const { generation } = this.#context.machine.facts;
    const from = after === 0 ? undefined : revokedKey(generation, after);
    const grants = await this.#page(revokedPrefix(generation), from, limit, (value) => {
      const { first, count, sinceMs } = decodeRecord<RevokedIds>(value);
      return sinceMs > oldestMs ? undefined : { first, count };
    });
    return { grants };
  }

  /** What became garbage after this time is kept for now. */
  #oldestMs(): number {
    return Date.now() - this.#context.volume.gc.graceMs;
  }

  /** Up to a limit of the region's own records, as `take` maps them; those that it maps to undefined are left out. */
  async #page<T>(
    prefix: string,
    after: string | undefined,
    limitAsked: number,
    take: (value: Uint8Array) => T | undefined,
  ): Promise<T[]> {
    const limit = Math.min(limitAsked || GARBAGE_PAGE_MAX, GARBAGE_PAGE_MAX);
    const taken: T[] = [];
    for await (const page of this.#context.machine.localPages(prefix, after)) {
      for (const [, value] of page) {
        const one = take(value);
        if (one === undefined) continue;
        taken.push(one);
        if (taken.length === limit) return taken;
      }
    }
    return taken;
  }

  #appliedEverywhere(): number {
    const { tree, version, primary } = this.#context.machine;
    let applied: number = version.sequence;
    for (const [index, region] of regionNames(tree.volume).entries()) {
      if (region !== primary) applied = Math.min(applied, tree.regionProgress(index as RegionIndex)?.sequence ?? 0);
    }
    return applied;
  }
}

function isPending(pending: Pending | undefined): pending is Pending {
  return pending !== undefined;
}
