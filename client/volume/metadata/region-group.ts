import { Metadata } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { backoffMs, pause, singleFlight } from "../../../base/waiting.ts";
import type { MemberAddresses } from "../../../config/member-addresses.ts";
import { channelCredentials } from "../../../proto/credentials.ts";
import { AdminClient, type RegionStatus } from "../../../proto/generated/admin.ts";
import {
  type Freshness,
  type Hello,
  type Invalidation,
  type Response,
  Status,
  type Welcome,
  type WireVersion,
} from "../../../proto/generated/metadata.ts";
import { CHANNEL_OPTIONS, Connection, type RequestBody } from "./connection.ts";

export interface RegionGroupEvents {
  onInvalidations(region: string, invalidations: readonly Invalidation[], version: WireVersion | undefined): void;
  onVersion(version: WireVersion): void;
  /** Whether a server of the volume with this uuid may be used; it is empty before the volume is formatted. */
  accepts(region: string, uuid: string): boolean;
  onStreamLost(region: string): void;
}

export interface AskOptions {
  readonly freshness: Freshness;
  readonly atLeast: WireVersion | undefined;
  /** How long to look for a leader while there is none. */
  readonly findMs: number;
  /** How long a leader may take to answer; Infinity: as long as the stream lives. */
  readonly answerMs: number;
}

/** `unreachable`: no leader was found in time. `timeout`: a leader was found, but did not answer in time. */
export type Asked = Response | "unreachable" | "timeout";

const STATUS_MS = 1500;
/** Back-off between attempts to find a leader. */
const FINDING_FIRST_MS = 20;
const FINDING_MOST_MS = 400;

/** The metadata servers of one region: finds their leader, and keeps a stream to it through changes of leader. */
export class RegionGroup {
  readonly region: string;
  readonly #volume: string;
  readonly #addresses: MemberAddresses;
  readonly #hello: () => Hello;
  readonly #events: RegionGroupEvents;
  readonly #logger: Logger;
  readonly #admins = new Map<string, AdminClient>();
  #connection: Connection | undefined;
  #welcome: Welcome | undefined;
  #downSinceMs: number | undefined;
  #hint: string | undefined;
  #closed = false;
  readonly #connect = singleFlight(() => this.#findAndConnect());

  constructor(options: {
    region: string;
    volume: string;
    addresses: MemberAddresses;
    hello: () => Hello;
    events: RegionGroupEvents;
    logger: Logger;
  }) {
    this.region = options.region;
    this.#volume = options.volume;
    this.#addresses = options.addresses;
    this.#hello = options.hello;
    this.#events = options.events;
    this.#logger = options.logger;
  }

  /** True while the stream to the leader lives, so that its pushes arrive. */
  get connected(): boolean {
    return this.#connection?.alive === true;
  }

  /** How long no leader could be reached; 0 while there is a stream, or when no stream was needed yet. */
  get downForMs(): number {
    return this.#downSinceMs === undefined ? 0 : performance.now() - this.#downSinceMs;
  }

  /**
   * The leader's Welcome. Waits until the region has a leader and is formatted; undefined when that takes longer than
   * `timeoutMs`.
   */
  async welcome(timeoutMs: number): Promise<Welcome | undefined> {
    const deadlineMs = performance.now() + timeoutMs;
    while (performance.now() < deadlineMs && !this.#closed) {
      if (((await this.status())?.uuid ?? "") !== "" && (await this.#connectBy(deadlineMs)) !== undefined) {
        return this.#welcome;
      }
      await pause(FINDING_MOST_MS / 4);
    }
    return undefined;
  }

  /** Sends the request to the current leader. Never rejects. */
  async ask(body: RequestBody, options: AskOptions): Promise<Asked> {
    const giveUpMs = performance.now() + options.findMs + options.answerMs;
    for (let attempt = 0; performance.now() < giveUpMs; attempt++) {
      const connection = this.#connection ?? (await this.#connectBy(performance.now() + options.findMs));
      if (connection === undefined) return "unreachable";
      const answerMs = Math.min(options.answerMs, giveUpMs - performance.now());
      const answer = await connection.request(body, options.freshness, options.atLeast, answerMs);
      if (answer === "timeout") return "timeout";
      if (answer !== "lost") {
        if (answer.status !== Status.NOT_LEADER && answer.status !== Status.BUSY) return answer;
        if (answer.status === Status.NOT_LEADER) this.#leave(connection, answer.leader);
      }
      await pause(backoffMs(attempt, FINDING_FIRST_MS, FINDING_MOST_MS));
    }
    return "timeout";
  }

  /**
   * The region's status: from its leader, else from the member with the highest epoch. Undefined when no member
   * answers.
   */
  async status(timeoutMs: number = STATUS_MS): Promise<RegionStatus | undefined> {
    let best: RegionStatus | undefined;
    await new Promise<void>((resolve) => {
      const { all } = this.#addresses;
      let missing = all.length;
      for (const address of all) {
        void this.#statusOf(address, timeoutMs).then((status) => {
          missing -= 1;
          if (status !== undefined && isBetter(status, best)) best = status;
          if (missing === 0 || status?.isLeader === true) resolve();
        });
      }
    });
    return best;
  }

  /** Drops the stream, so that the next request opens one with a new Hello (for a new session). */
  reconnect(): void {
    this.#connection?.close();
  }

  close(): void {
    this.#closed = true;
    this.#connection?.close();
    for (const admin of this.#admins.values()) admin.close();
  }

  async #connectBy(deadlineMs: number): Promise<Connection | undefined> {
    for (let attempt = 0; !this.#closed; attempt++) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) break;
      const connection = await Promise.race([this.#connect(), pause(leftMs).then(() => undefined)]);
      if (connection !== undefined) return connection;
      this.#downSinceMs ??= performance.now();
      await pause(Math.min(backoffMs(attempt, FINDING_FIRST_MS, FINDING_MOST_MS), leftMs));
    }
    return undefined;
  }

  async #findAndConnect(): Promise<Connection | undefined> {
    if (this.#connection?.alive) return this.#connection;
    const address = this.#hint ?? (await this.#findLeader());
    this.#hint = undefined;
    if (address === undefined || this.#closed) return undefined;
    const connection = new Connection(address, this.#hello(), {
      accepts: (uuid) => this.#events.accepts(this.region, uuid),
      onInvalidations: (invalidations, version) => this.#events.onInvalidations(this.region, invalidations, version),
      onVersion: (version) => this.#events.onVersion(version),
      onEnd: (ended) => this.#onEnd(ended),
    });
    const welcome = await connection.welcomed;
    if (welcome === undefined) return undefined;
    this.#connection = connection;
    this.#welcome = welcome;
    this.#downSinceMs = undefined;
    this.#logger.info({ region: this.region, address, role: welcome.role }, "connected to the metadata leader");
    return connection;
  }

  async #findLeader(): Promise<string | undefined> {
    const status = await this.status();
    if (status === undefined) return undefined;
    const leader = status.members.find((member) => member.isLeader)?.id ?? (status.isLeader ? status.member : 0);
    return this.#addresses.of(leader) ?? this.#known(status.leader);
  }

  async #statusOf(address: string, timeoutMs: number): Promise<RegionStatus | undefined> {
    if (this.#closed) return undefined;
    let admin = this.#admins.get(address);
    if (admin === undefined) {
      admin = new AdminClient(address, channelCredentials(), CHANNEL_OPTIONS);
      this.#admins.set(address, admin);
    }
    const client = admin;
    return new Promise((resolve) => {
      const deadline = Date.now() + timeoutMs;
      client.status({ volume: this.#volume }, new Metadata(), { deadline }, (error, status) => {
        if (error === null) this.#addresses.learn(status);
        resolve(error === null ? status : undefined);
      });
    });
  }

  #leave(connection: Connection, hint: string): void {
    this.#hint = this.#known(hint);
    connection.close();
  }

  #known(address: string): string | undefined {
    return this.#addresses.all.includes(address) ? address : undefined;
  }

  #onEnd(connection: Connection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#downSinceMs = performance.now();
    if (this.#closed) return;
    this.#logger.warn({ region: this.region, address: connection.address }, "stream to the metadata leader lost");
    this.#events.onStreamLost(this.region);
  }
}

function isBetter(status: RegionStatus, than: RegionStatus | undefined): boolean {
  if (than === undefined || status.isLeader !== than.isLeader) return than === undefined || status.isLeader;
  return (status.version?.epoch ?? 0) > (than.version?.epoch ?? 0);
}
