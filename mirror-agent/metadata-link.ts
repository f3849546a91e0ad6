import { type CallOptions, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { backoffMs, pause } from "../base/waiting.ts";
import { channelCredentials } from "../proto/credentials.ts";
import {
  type AgentAnswer,
  AgentClient,
  type FailedSlice,
  type GarbageSlice,
  type GarbageSlices,
  type PendingSlices,
  type RegionsAnswer,
  type RevokedGrants,
  type RevokedIds,
} from "../proto/generated/agent.ts";
import { messageOf } from "./reachability.ts";

export interface Watcher {
  /** A walk over all pending slices begins. */
  readonly walk: () => void;
  /** Some of the pending slices, or changes to them; `caughtUp`: the walk is complete. */
  readonly batch: (batch: PendingSlices) => void;
}

export interface MetadataLinkOptions {
  /** host:port of the own region's metadata servers. */
  readonly members: readonly string[];
  readonly volume: string;
  /** This agent's name in the metadata servers' logs. */
  readonly agent: string;
  /** The highest feature level that this agent knows. */
  readonly supports: number;
  readonly logger: Logger;
}

const CALL_TIMEOUT_MS = 5_000;
const CHANNEL = {
  // Detects a server that vanished without closing the connection.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
  "grpc.max_receive_message_length": 64 * 1024 * 1024,
};

/** One call to one member. */
type Ask<A> = (
  client: AgentClient,
  metadata: Metadata,
  options: Partial<CallOptions>,
  done: (error: ServiceError | null, answer: A) => void,
) => unknown;

/** Calls the leader of the own region's metadata group. After a member that does not answer or does not lead, it tries the next. */
export class MetadataLink {
  readonly #options: MetadataLinkOptions;
  readonly #clients: readonly AgentClient[];
  readonly #stop = new AbortController();
  #leader = 0;
  #watched: { readonly member: number; readonly end: () => void } | undefined;

  constructor(options: MetadataLinkOptions) {
    this.#options = options;
    this.#clients = options.members.map((member) => new AgentClient(member, channelCredentials(), CHANNEL));
  }

  regions(): Promise<RegionsAnswer> {
    const { volume, supports } = this.#options;
    return this.#ask((client, ...rest) => client.regions({ volume, supports }, ...rest));
  }

  /** @throws unless the leader acknowledged it. */
  async reportResident(slices: readonly number[], failed: readonly FailedSlice[]): Promise<void> {
    const { volume, agent } = this.#options;
    const request = { volume, agent, slices: [...slices], failed: [...failed] };
    await this.#ask<AgentAnswer>((client, ...rest) => client.reportResident(request, ...rest));
  }

  async listGarbage(after: number, limit: number): Promise<readonly GarbageSlice[]> {
    const request = { volume: this.#options.volume, after, limit };
    return (await this.#ask<GarbageSlices>((client, ...rest) => client.listGarbage(request, ...rest))).slices;
  }

  /** @throws unless the leader acknowledged it. */
  async reportCollected(slices: readonly number[]): Promise<void> {
    const request = { volume: this.#options.volume, slices: [...slices] };
    await this.#ask<AgentAnswer>((client, ...rest) => client.reportCollected(request, ...rest));
  }

  async listRevoked(after: number, limit: number): Promise<readonly RevokedIds[]> {
    const request = { volume: this.#options.volume, after, limit };
    return (await this.#ask<RevokedGrants>((client, ...rest) => client.listRevoked(request, ...rest))).grants;
  }

  /** @throws unless the leader acknowledged it. */
  async reportSwept(firsts: readonly number[]): Promise<void> {
    const request = { volume: this.#options.volume, firsts: [...firsts] };
    await this.#ask<AgentAnswer>((client, ...rest) => client.reportSwept(request, ...rest));
  }

  /** Follows the pending slices until the link is closed. Each time the stream breaks, a new walk over all of them begins. */
  async watch(watcher: Watcher): Promise<void> {
    for (let attempt = 0; !this.#stop.signal.aborted; attempt++) {
      const member = this.#leader;
      const leads = await this.#watchOnce(member, watcher);
      if (leads) attempt = 0;
      else if (this.#leader === member) this.#next(member);
      await pause(backoffMs(attempt, 50, 2_000), this.#stop);
    }
  }

  /** Breaks the stream, so that a new walk begins. */
  rewalk(): void {
    this.#watched?.end();
  }

  close(): void {
    this.#stop.abort(new Error("closed"));
    this.#watched?.end();
    for (const client of this.#clients) client.close();
  }

  /** @returns whether this member sent anything: it leads. */
  #watchOnce(member: number, watcher: Watcher): Promise<boolean> {
    const { volume, agent, supports, logger } = this.#options;
    const stream = this.#clients[member]!.watchPending({ volume, agent, supports });
    this.#watched = { member, end: () => stream.cancel() };
    return new Promise((resolve) => {
      let leads = false;
      stream.on("data", (batch: PendingSlices) => {
        if (!leads) watcher.walk();
        leads = true;
        this.#leader = member;
        watcher.batch(batch);
      });
      stream.on("error", (error) => {
        logger.debug({ member: this.#options.members[member], reason: messageOf(error) }, "the watch ended");
        resolve(leads);
      });
      for (const event of ["end", "close"]) stream.on(event, () => resolve(leads));
    });
  }

  /** Calls the leader; tries every member up to twice, in case the leader changes. @throws the last member's error. */
  async #ask<A>(ask: Ask<A>): Promise<A> {
    let failure: unknown;
    for (let attempt = 0; attempt < 2 * this.#clients.length; attempt++) {
      const member = this.#leader;
      try {
        const answer = await this.#askOne(member, ask);
        // A former leader may keep the watch open: move it to the member that answered as the leader.
        if (this.#watched !== undefined && this.#watched.member !== member) this.#watched.end();
        return answer;
      } catch (error) {
        failure = error;
        if (this.#leader === member) this.#next(member);
        if (attempt >= this.#clients.length - 1) await pause(backoffMs(0, 200, 200), this.#stop);
      }
    }
    throw failure;
  }

  #askOne<A>(member: number, ask: Ask<A>): Promise<A> {
    this.#stop.signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      ask(this.#clients[member]!, new Metadata(), { deadline: Date.now() + CALL_TIMEOUT_MS }, (error, answer) => {
        if (error !== null) reject(error);
        else if (isRefusal(answer)) reject(new Error(answer.message));
        else resolve(answer);
      });
    });
  }

  #next(member: number): void {
    this.#leader = (member + 1) % this.#clients.length;
  }
}

function isRefusal(answer: unknown): answer is AgentAnswer {
  return typeof answer === "object" && answer !== null && "ok" in answer && answer.ok === false;
}
