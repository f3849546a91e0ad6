import { AgentClient } from "../../proto/generated/agent.ts";
import type { Buckets } from "./buckets.ts";
import type { Cluster, Region } from "./cluster.ts";
import { Host } from "./environment/world.ts";

const ROUND_MS = 700;
const ANSWER_MS = 1_000;
const COPIES_AT_ONCE = 50;
const PAGE = 100;

/** A minimal mirror agent of one region: copies pending slices, deletes garbage, and reports both. */
export class SimulatedAgent {
  readonly host: Host;
  readonly #cluster: Cluster;
  readonly #buckets: Buckets;
  readonly #region: Region;
  readonly #clients = new Map<string, AgentClient>();

  constructor(cluster: Cluster, buckets: Buckets, region: Region) {
    this.#cluster = cluster;
    this.#buckets = buckets;
    this.#region = region;
    this.host = new Host(cluster.world, `agent-${region}`, region);
  }

  start(): void {
    this.#cluster.world.turn(this.host.begin(), () => void this.#run());
  }

  async #run(): Promise<void> {
    const { prng } = this.#cluster.world;
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, prng.between(ROUND_MS / 2, ROUND_MS * 1.5)));
      const client = this.#client(prng.pick(this.#cluster.volume.regions.get(this.#region)!.meta));
      await this.#copy(client);
      await this.#collect(client);
      await this.#sweep(client);
    }
  }

  #client(address: string): AgentClient {
    const client = this.#clients.get(address) ?? new AgentClient(address, undefined as never);
    this.#clients.set(address, client);
    return client;
  }

  /** Copies the slices that are pending now, once. */
  async #copy(client: AgentClient): Promise<void> {
    const { volume } = this.#cluster;
    const pending = await new Promise<number[]>((resolve) => {
      const found: number[] = [];
      const watch = client.watchPending({ volume: volume.volume, agent: this.host.name, supports: 1 });
      const end = () => {
        clearTimeout(timer);
        watch.cancel();
        resolve(found);
      };
      const timer = setTimeout(end, ANSWER_MS);
      watch.on("data", ({ slices, caughtUp }) => {
        for (const { id, gone } of slices) if (!gone) found.push(id);
        if (caughtUp || found.length >= COPIES_AT_ONCE) end();
      });
      watch.on("error", end);
      watch.on("end", end);
    });
    const copied = pending.filter((slice) => this.#buckets.hasAnywhere(slice));
    for (const slice of copied) this.#buckets.put(this.#region, slice);
    if (copied.length === 0) return;
    const report = { volume: volume.volume, agent: this.host.name, slices: copied, failed: [] };
    await call((done) => client.reportResident(report, {} as never, deadline(), done));
  }

  async #collect(client: AgentClient): Promise<void> {
    const { volume } = this.#cluster.volume;
    const listed = await call<{ slices: { id: number }[] }>((done) =>
      client.listGarbage({ volume, after: 0, limit: PAGE }, {} as never, deadline(), done),
    );
    const slices = (listed?.slices ?? []).map(({ id }) => id);
    for (const slice of slices) this.#buckets.collect(this.#region, slice);
    if (slices.length > 0) {
      await call((done) => client.reportCollected({ volume, slices }, {} as never, deadline(), done));
    }
  }

  async #sweep(client: AgentClient): Promise<void> {
    const { volume } = this.#cluster.volume;
    const listed = await call<{ grants: { first: number; count: number }[] }>((done) =>
      client.listRevoked({ volume, after: 0, limit: PAGE }, {} as never, deadline(), done),
    );
    for (const { first, count } of listed?.grants ?? []) {
      for (const slice of this.#buckets.within(this.#region, first, count)) this.#buckets.collect(this.#region, slice);
      await call((done) => client.reportSwept({ volume, firsts: [first] }, {} as never, deadline(), done));
    }
  }
}

function deadline(): { deadline: number } {
  return { deadline: Date.now() + ANSWER_MS };
}

/** Undefined: the call was refused or failed. */
function call<T>(request: (done: (error: unknown, answer: T) => void) => void): Promise<T | undefined> {
  return new Promise((resolve) => {
    request((error, answer) => resolve(error === null ? answer : undefined));
  });
}
