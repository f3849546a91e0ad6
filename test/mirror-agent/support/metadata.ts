import { Server, type ServerWritableStream, status } from "@grpc/grpc-js";
import { encodeSlice, newSlice } from "../../../core/codec.ts";
import type { Slice } from "../../../core/commands.ts";
import type { SliceId } from "../../../core/ids.ts";
import { serverCredentials } from "../../../proto/credentials.ts";
import {
  type AgentServer,
  AgentService,
  type FailedSlice,
  type PendingSlice,
  PendingSlices,
  type WatchPendingRequest,
} from "../../../proto/generated/agent.ts";
import { choosePort } from "../../../sandbox/ports.ts";

interface Pending {
  readonly slice: Slice;
  readonly sinceMs: number;
  urgent: boolean;
}

/** A scripted server of proto/agent.proto, whose state a test can read and change. */
export class FakeMetadata {
  readonly pending = new Map<SliceId, Pending>();
  /** Every slice that was ever reported resident, with the time of the first report. */
  readonly resident = new Map<SliceId, number>();
  readonly failed = new Map<SliceId, FailedSlice>();
  readonly garbage = new Map<SliceId, Slice>();
  readonly collected = new Set<SliceId>();
  /** Revoked ranges of ids: the first id, and how many. */
  readonly revoked = new Map<number, number>();
  readonly reports: number[] = [];
  walks = 0;
  /** How it refuses calls, as a member that does not lead. */
  refusal: "status" | "answer" | undefined;
  listFails = false;
  address = "";
  uuid = "5b2f6c1e-0000-4000-8000-000000000001";
  readonly #regions: readonly string[];
  readonly #own: number;
  readonly #watchers = new Set<ServerWritableStream<WatchPendingRequest, PendingSlices>>();
  #server = new Server();

  constructor(options: { regions: readonly string[]; own: number }) {
    this.#regions = options.regions;
    this.#own = options.own;
  }

  async start(): Promise<void> {
    const port = this.address === "" ? await choosePort() : Number(this.address.split(":")[1]);
    this.address = `127.0.0.1:${port}`;
    this.#server = new Server();
    this.#server.addService(AgentService, this.#handlers());
    await new Promise<void>((resolve, reject) =>
      this.#server.bindAsync(this.address, serverCredentials(), (error) =>
        error === null ? resolve() : reject(error),
      ),
    );
  }

  async stop(): Promise<void> {
    this.#server.forceShutdown();
    this.#watchers.clear();
  }

  /** Adds pending slices, and pushes them to all watchers. */
  add(slices: readonly Slice[], options: { sinceMs?: number; urgent?: boolean } = {}): void {
    const added = slices.map((slice) => ({
      slice,
      sinceMs: options.sinceMs ?? Date.now(),
      urgent: options.urgent ?? false,
    }));
    for (const pending of added) {
      this.pending.set(pending.slice.id, pending);
    }
    this.#push(added.map(message));
  }

  hurry(id: SliceId): void {
    const pending = this.pending.get(id)!;
    pending.urgent = true;
    this.#push([message(pending)]);
  }

  /** A pending slice is deleted. */
  drop(id: SliceId): void {
    this.pending.delete(id);
    this.#push([gone(id)]);
  }

  /** Breaks every watch. */
  breakWatches(): void {
    for (const watcher of this.#watchers)
      watcher.emit("error", { code: status.UNAVAILABLE, details: "broken by the test" });
    this.#watchers.clear();
  }

  #push(slices: PendingSlice[]): void {
    for (const watcher of this.#watchers) watcher.write(PendingSlices.fromPartial({ slices, caughtUp: true }));
  }

  #handlers(): AgentServer {
    return {
      regions: (_call, done) => {
        if (this.#refuses(done)) return;
        done(null, { uuid: this.uuid, regions: [...this.#regions], own: this.#own, primary: this.#regions[0]! });
      },
      watchPending: (call) => {
        if (this.refusal !== undefined)
          return void call.emit("error", { code: status.FAILED_PRECONDITION, details: "NOT_LEADER" });
        this.walks++;
        this.#watchers.add(call);
        call.on("cancelled", () => this.#watchers.delete(call));
        const all = [...this.pending.values()].map(message);
        for (let at = 0; at < all.length; at += 100)
          call.write(PendingSlices.fromPartial({ slices: all.slice(at, at + 100) }));
        call.write(PendingSlices.fromPartial({ caughtUp: true, pending: all.length }));
      },
      reportResident: (call, done) => {
        if (this.#refuses(done)) return;
        this.reports.push(call.request.slices.length);
        for (const id of call.request.slices as SliceId[]) {
          this.pending.delete(id);
          this.failed.delete(id);
          if (!this.resident.has(id)) this.resident.set(id, Date.now());
        }
        this.#push((call.request.slices as SliceId[]).map(gone));
        for (const failed of call.request.failed) this.failed.set(failed.id as SliceId, failed);
        done(null, { ok: true, message: "" });
      },
      listGarbage: (call, done) => {
        if (this.#refuses(done)) return;
        if (this.listFails) return done({ code: status.INTERNAL, details: "the listing broke off" }, null);
        const slices = [...this.garbage.values()]
          .filter((slice) => slice.id > call.request.after)
          .sort((a, b) => a.id - b.id)
          .slice(0, call.request.limit);
        done(null, { slices: slices.map((slice) => ({ id: slice.id, slice: encode(slice) })) });
      },
      reportCollected: (call, done) => {
        if (this.#refuses(done)) return;
        for (const id of call.request.slices as SliceId[]) {
          this.garbage.delete(id);
          this.collected.add(id);
        }
        done(null, { ok: true, message: "" });
      },
      listRevoked: (call, done) => {
        if (this.#refuses(done)) return;
        const grants = [...this.revoked]
          .map(([first, count]) => ({ first, count }))
          .filter(({ first }) => first > call.request.after)
          .sort((a, b) => a.first - b.first)
          .slice(0, call.request.limit);
        done(null, { grants });
      },
      reportSwept: (call, done) => {
        if (this.#refuses(done)) return;
        for (const first of call.request.firsts) this.revoked.delete(first);
        done(null, { ok: true, message: "" });
      },
      reportMissing: (_call, done) => done(null, { ok: true, message: "" }),
    };
  }

  #refuses(done: (error: { code: status; details: string } | null, answer?: never) => void): boolean {
    if (this.refusal === undefined) return false;
    if (this.refusal === "answer") done(null, { ok: false, message: "NOT_LEADER" } as never);
    else done({ code: status.FAILED_PRECONDITION, details: "NOT_LEADER" });
    return true;
  }
}

function encode(slice: Slice): Buffer {
  return Buffer.from(encodeSlice(newSlice(slice)));
}

function message(pending: Pending): PendingSlice {
  const { slice, sinceMs, urgent } = pending;
  return { id: slice.id, slice: encode(slice), sinceMs, urgent, gone: false };
}

function gone(id: SliceId): PendingSlice {
  return { id, slice: Buffer.alloc(0), sinceMs: 0, urgent: false, gone: true };
}
