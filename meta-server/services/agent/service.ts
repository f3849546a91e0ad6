import { status } from "@grpc/grpc-js";
import type { RegionIndex, SliceId } from "../../../core/ids.ts";
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
  GARBAGE_PREFIX,
  garbageKey,
  type Pending,
  REVOKED_PREFIX,
  type RevokedIds,
  revokedKey,
} from "../../machine/local-keys.ts";
import type { ServerContext } from "../../region/context.ts";
import { asBuffer } from "../metadata/responses.ts";
import { checkRequest, RefusedCall, serviceError, unary } from "../unary.ts";
import { PendingWatch } from "./pending-watch.ts";

const GARBAGE_PAGE_MAX = 1_000;

/** What the region's agents are told to copy and to delete, and what they report. */
export class AgentService {
  readonly #context: ServerContext;
  readonly #watches = new Set<PendingWatch>();
  /** The last word of an agent about a slice that it could not copy. In memory: an agent says it again. */
  readonly #failed = new Map<number, FailedSlice>();
  /** Found missing by a reader, and not committed yet. */
  readonly #missed = new Set<number>();

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

  /** Slices that could not be copied for now. */
  get failedSlices(): number {
    return [...this.#failed.values()].filter(({ parked }) => parked).length;
  }

  /** Readers of this region wait for these: its bucket lacks a block of each, whatever was thought. */
  want(slices: readonly number[]): void {
    const { facts } = this.#context.machine;
    this.#hurry(slices);
    const missed = slices.filter((slice) => !facts.isPending(slice) && this.#mayBeElsewhere(slice));
    if (missed.length > 0) void this.#miss(missed);
  }

  #hurry(slices: readonly number[]): void {
    const pending = slices.map((slice) => this.#context.machine.facts.pending(slice)).filter(isPending);
    if (pending.length === 0) return;
    for (const watch of this.#watches) watch.urgent(pending);
  }

  /** Also one whose home is here: other regions have copied it. */
  #mayBeElsewhere(slice: number): boolean {
    const { tree } = this.#context.machine;
    return (
      !this.#missed.has(slice) && (tree.volume?.regions.length ?? 0) > 1 && tree.slice(slice as SliceId) !== undefined
    );
  }

  async #miss(slices: readonly number[]): Promise<void> {
    for (const slice of slices) this.#missed.add(slice);
    const { ok } = await this.#commit({ kind: "missing", slices, nowMs: Date.now() }, slices);
    for (const slice of slices) this.#missed.delete(slice);
    if (!ok) return;
    this.#context.logger.warn({ slices }, "blocks that were thought to be here are missing: they are copied again");
    this.#hurry(slices);
  }

  endStreams(): void {
    for (const watch of [...this.#watches]) watch.end();
    this.#watches.clear();
  }

  #makeHandlers(): AgentServer {
    const context = this.#context;
    const leader = { onlyLeader: true };
    return {
      regions: unary(context, { onlyLeader: false }, () => this.#regions()),
      watchPending: (stream) => {
        try {
          checkRequest(context, stream.request, true);
        } catch (error) {
          stream.destroy(Object.assign(new Error(), serviceError(context, error as Error)));
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

  #regions(): RegionsAnswer {
    const { tree, primary, regionIndex } = this.#context.machine;
    if (tree.volume === undefined) throw new RefusedCall(status.UNAVAILABLE, "the volume is not formatted yet");
    if (regionIndex === undefined) {
      throw new RefusedCall(status.FAILED_PRECONDITION, `the volume does not know the region ${this.#context.region}`);
    }
    return { uuid: tree.volume.uuid, regions: [...tree.volume.regions], own: regionIndex, primary };
  }

  async #commit(entry: LocalEntry, about: readonly number[]): Promise<AgentAnswer> {
    if (about.length === 0) return { ok: true, message: "" };
    const ok = await this.#context.proposer.local(entry);
    return { ok, message: ok ? "" : "not committed: ask the leader again" };
  }

  /** Slices whose deletion every region has applied, and that have been garbage for a while. */
  async #garbage(after: number, limit: number): Promise<GarbageSlices> {
    const applied = this.#appliedEverywhere();
    const oldestMs = this.#oldestMs();
    const slices = await this.#page(GARBAGE_PREFIX, after === 0 ? undefined : garbageKey(after), limit, (value) => {
      const { slice, sequence, sinceMs, record } = decodeGarbage(value);
      return sequence > applied || sinceMs > oldestMs ? undefined : { id: slice, slice: asBuffer(record) };
    });
    return { slices };
  }

  /** Revoked for a while: an upload that was under way has ended by then. */
  async #revoked(after: number, limit: number): Promise<RevokedGrants> {
    const oldestMs = this.#oldestMs();
    const grants = await this.#page(REVOKED_PREFIX, after === 0 ? undefined : revokedKey(after), limit, (value) => {
      const { first, count, sinceMs } = decodeRecord<RevokedIds>(value);
      return sinceMs > oldestMs ? undefined : { first, count };
    });
    return { grants };
  }

  /** What became garbage later is left alone for now. */
  #oldestMs(): number {
    return Date.now() - this.#context.volume.gc.graceMs;
  }

  /** Of the region's own records, those that `take` makes something of. */
  async #page<T>(
    prefix: string,
    after: string | undefined,
    limitWanted: number,
    take: (value: Uint8Array) => T | undefined,
  ): Promise<T[]> {
    const limit = Math.min(limitWanted || GARBAGE_PAGE_MAX, GARBAGE_PAGE_MAX);
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
    for (const [index, region] of (tree.volume?.regions ?? []).entries()) {
      if (region !== primary) applied = Math.min(applied, tree.regionProgress(index as RegionIndex) ?? 0);
    }
    return applied;
  }
}

function isPending(pending: Pending | undefined): pending is Pending {
  return pending !== undefined;
}
