import { type ClientOptions, Metadata } from "@grpc/grpc-js";
import { MemberAddresses } from "../../../config/member-addresses.ts";
import { compareVersions } from "../../../core/ids.ts";
import { channelCredentials } from "../../../proto/credentials.ts";
import { AdminClient, type RegionStatus } from "../../../proto/generated/admin.ts";
import { asVersion } from "../../../proto/versions.ts";
import type { ServerContext } from "../../region/context.ts";

/** Each client has its own subchannels and a short back-off, so that a server is reached soon after it is back. */
export const PEER_OPTIONS: ClientOptions = {
  "grpc.use_local_subchannel_pool": 1,
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
};
const STATUS_MS = 1_500;

/** Asks the other regions for their status. */
export class Regions {
  readonly #context: ServerContext;
  readonly #clients = new Map<string, AdminClient>();
  /** Addresses that refused the last connection. */
  readonly #refusing = new Set<string>();
  readonly #addresses: ReadonlyMap<string, MemberAddresses>;

  constructor(context: ServerContext) {
    this.#context = context;
    this.#addresses = new Map([...context.volume.regions].map(([name, region]) => [name, new MemberAddresses(region)]));
  }

  get others(): readonly string[] {
    return [...this.#context.volume.regions.keys()].filter((region) => region !== this.#context.region);
  }

  /** The status of each other region; a region is absent if none of its members answered in time. */
  async askAll(timeoutMs: number = STATUS_MS): Promise<Map<string, RegionStatus>> {
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
  async ask(region: string, timeoutMs: number = STATUS_MS): Promise<RegionStatus | undefined> {
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
    timeoutMs: number = STATUS_MS,
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

  /** Whether every address of the region refused the last connection: its machines are up, its servers are not running. */
  isDown(region: string): boolean {
    const addresses = this.#addresses.get(region)?.all ?? [];
    return addresses.every((address) => this.#refusing.has(address));
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
        (error, status) => {
          if (error?.details.includes("ECONNREFUSED")) this.#refusing.add(address);
          else this.#refusing.delete(address);
          resolve(error === null ? status : undefined);
        },
      );
    });
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }
}

function isBetter(status: RegionStatus, than: RegionStatus | undefined): boolean {
  if (than === undefined || status.isLeader !== than.isLeader) return than === undefined || status.isLeader;
  return compareVersions(asVersion(status.version), asVersion(than.version)) > 0;
}
