import { type ClientOptions, status as grpcStatus, Metadata } from "@grpc/grpc-js";
import { MemberAddresses } from "../../../config/member-addresses.ts";
import { compareVersions } from "../../../core/ids.ts";
import { channelCredentials } from "../../../proto/credentials.ts";
import {
  AdminClient,
  type ConfirmAnswer,
  type ConfirmRequest,
  type RegionStatus,
} from "../../../proto/generated/admin.ts";
import { asVersion } from "../../../proto/versions.ts";
import { confirmedState, type ServerContext } from "../../region/context.ts";

/** Each client has its own subchannels and a short back-off, so that a server is reached soon after it is back. */
export const PEER_OPTIONS: ClientOptions = {
  "grpc.use_local_subchannel_pool": 1,
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
};
const ANSWER_MS = 1_500;

/** What a region's leader said, confirmed by its group, and the address at which it was asked. */
export interface Confirmed {
  readonly answer: ConfirmAnswer;
  readonly address: string;
}

/** One round of questions to the other regions. */
export interface Answers {
  readonly confirmed: ReadonlyMap<string, ConfirmAnswer>;
  /** The regions whose leader did not answer, with what one of their servers said against it ("": nothing). */
  readonly missing: ReadonlyMap<string, string>;
}

/**
 * Asks the other regions. What one of them has committed is known only from `confirm`; `ask` is for display, for the amount
 * of pending blocks, and to find a leader.
 */
export class Regions {
  readonly #context: ServerContext;
  readonly #clients = new Map<string, AdminClient>();
  #closed = false;
  /** performance.now() when each region last asked this one as a primary that waits for clearance. */
  readonly #clearanceAsked = new Map<string, number>();
  readonly #addresses: ReadonlyMap<string, MemberAddresses>;

  constructor(context: ServerContext) {
    this.#context = context;
    this.#addresses = new Map([...context.volume.regions].map(([name, region]) => [name, new MemberAddresses(region)]));
  }

  get others(): readonly string[] {
    return [...this.#context.volume.regions.keys()].filter((region) => region !== this.#context.region);
  }

  /** Asks the leader of each other region what its group has committed. */
  async confirmAll(timeoutMs: number = ANSWER_MS): Promise<Answers> {
    const confirmed = new Map<string, ConfirmAnswer>();
    const missing = new Map<string, string>();
    await Promise.all(
      this.others.map(async (region) => {
        const said = await this.confirm(region, timeoutMs);
        if (typeof said === "string") missing.set(region, said);
        else confirmed.set(region, said.answer);
      }),
    );
    return { confirmed, missing };
  }

  /**
   * Asks the leader of a region what its group has committed. All members are asked, because a leader that was deposed does
   * not know it. Never rejects. @returns a string if none answered: what one of them said against it, or ""
   */
  async confirm(region: string, timeoutMs: number = ANSWER_MS): Promise<Confirmed | string> {
    const addresses = this.#addresses.get(region)?.all ?? [];
    const said = await new Promise<Confirmed | string>((resolve) => {
      let missing = addresses.length;
      let against = "";
      if (missing === 0) resolve("");
      for (const address of addresses) {
        void this.#confirmAt(address, region, timeoutMs).then((answer) => {
          missing -= 1;
          if (typeof answer !== "string") resolve({ answer, address });
          else if (answer !== "") against = answer;
          if (missing === 0) resolve(against);
        });
      }
    });
    // A status names the members that were added since the volume file was read: they are asked the next time.
    if (typeof said === "string" && !this.#closed) void this.ask(region, timeoutMs);
    return said;
  }

  /** The status of each other region; a region is absent if none of its members answered in time. */
  async askAll(timeoutMs: number = ANSWER_MS): Promise<Map<string, RegionStatus>> {
    const answers = new Map<string, RegionStatus>();
    await Promise.all(
      this.others.map(async (region) => {
        const status = await this.ask(region, timeoutMs);
        if (status !== undefined) answers.set(region, status);
      }),
    );
    return answers;
  }

  /** The status that a region's leader reports, otherwise that of the member that has applied most. Never rejects. */
  async ask(region: string, timeoutMs: number = ANSWER_MS): Promise<RegionStatus | undefined> {
    const addresses = this.#addresses.get(region)?.all ?? [];
    let best: RegionStatus | undefined;
    await new Promise<void>((resolve) => {
      let missing = addresses.length;
      if (missing === 0) resolve();
      for (const address of addresses) {
        void this.#statusOf(address, timeoutMs).then((status) => {
          missing -= 1;
          if (status !== undefined) this.#addresses.get(region)?.learn(status);
          if (status !== undefined && isBetter(status, best)) best = status;
          if (missing === 0 || status?.isLeader === true) resolve();
        });
      }
    });
    return best;
  }

  /** The status of each member of a region's group, by its leader's list; undefined if no leader answers. Never rejects. */
  async askMembers(
    region: string,
    timeoutMs: number = ANSWER_MS,
  ): Promise<{ readonly id: number; readonly status: RegionStatus | undefined }[] | undefined> {
    const leader = await this.ask(region, timeoutMs);
    if (leader?.isLeader !== true) return undefined;
    return Promise.all(
      leader.members.map(async ({ id, address }) => {
        const status = await this.#statusOf(this.#addresses.get(region)?.of(id) ?? address, timeoutMs);
        return { id, status: status?.region === region && status.member === id ? status : undefined };
      }),
    );
  }

  /**
   * The address of the region's leader, found by its number: a region's own addresses may not be those that are reached from
   * here.
   */
  leaderAddress(region: string, status: RegionStatus): string | undefined {
    const leader = status.isLeader ? status.member : status.members.find((member) => member.isLeader)?.id;
    if (leader === undefined) return undefined;
    // A member that was added after this server read the volume file has only the address that its own group reports.
    return this.#addresses.get(region)?.of(leader) ?? status.members.find(({ id }) => id === leader)?.address;
  }

  /** The status of every member of the other regions that answers. */
  async askAllMembers(timeoutMs: number = ANSWER_MS): Promise<RegionStatus[]> {
    const addresses = this.others.flatMap((region) => this.#addresses.get(region)?.all ?? []);
    const statuses = await Promise.all(addresses.map((address) => this.#statusOf(address, timeoutMs)));
    return statuses.filter((status) => status !== undefined);
  }

  /** Another region has asked this one what it has committed. */
  noteQuestion({ region, state }: ConfirmRequest): void {
    if (state === "waiting") this.#clearanceAsked.set(region, performance.now());
  }

  /** How long ago the region asked this one for clearance; Infinity if it has not. */
  clearanceAskedMs(region: string): number {
    return performance.now() - (this.#clearanceAsked.get(region) ?? Number.NEGATIVE_INFINITY);
  }

  /** The client of one member; made once and kept. */
  admin(address: string): AdminClient {
    let client = this.#clients.get(address);
    if (client === undefined) {
      client = new AdminClient(address, channelCredentials(), PEER_OPTIONS);
      this.#clients.set(address, client);
    }
    return client;
  }

  #statusOf(address: string, timeoutMs: number): Promise<RegionStatus | undefined> {
    return new Promise((resolve) => {
      const deadline = Date.now() + timeoutMs;
      this.admin(address).status(
        { volume: this.#context.volume.volume },
        new Metadata(),
        { deadline },
        (error, status) => resolve(error === null ? status : undefined),
      );
    });
  }

  #confirmAt(address: string, region: string, timeoutMs: number): Promise<ConfirmAnswer | string> {
    const { volume, machine, lives, region: own } = this.#context;
    const uuid = machine.tree.volume?.uuid ?? "";
    const state = confirmedState(this.#context);
    const request = { volume: volume.volume, uuid, region: own, version: machine.version, life: lives.own, state };
    return new Promise((resolve) => {
      const deadline = Date.now() + timeoutMs;
      this.admin(address).confirm(request, new Metadata(), { deadline }, (error, answer) => {
        if (error !== null) resolve(error.code === grpcStatus.FAILED_PRECONDITION ? error.details : "");
        else resolve(answer.region === region ? answer : `${address} belongs to region ${answer.region}`);
      });
    });
  }

  close(): void {
    this.#closed = true;
    for (const client of this.#clients.values()) client.close();
  }
}

function isBetter(status: RegionStatus, than: RegionStatus | undefined): boolean {
  if (than === undefined || status.isLeader !== than.isLeader) return than === undefined || status.isLeader;
  return compareVersions(asVersion(status.version), asVersion(than.version)) > 0;
}
