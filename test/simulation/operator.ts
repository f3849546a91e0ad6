import { AdminClient, PromoteRequest, type RegionStatus } from "../../proto/generated/admin.ts";
import { type Cluster, REGIONS, type Region } from "./cluster.ts";
import { Host } from "./environment/world.ts";

const ANSWER_MS = 40_000;
const CHANGE_MS = 2_000;
const STATUS_MS = 1_000;

interface Answer {
  readonly ok: boolean;
  readonly message: string;
}

/** Sends administrative requests as the command line does: to every member, since only the leader accepts them. */
export class Operator {
  readonly host: Host;
  readonly #cluster: Cluster;
  /** Switchovers that succeeded. */
  switchovers = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.host = new Host(cluster.world, "operator", "home");
    this.host.begin();
  }

  /** What a region's leader says of it; undefined if none answers in time. */
  async status(region: Region): Promise<RegionStatus | undefined> {
    const { volume, regions } = this.#cluster.volume;
    const answers = regions.get(region)!.meta.map(
      (address) =>
        new Promise<RegionStatus | undefined>((resolve) => {
          const admin = new AdminClient(address, undefined as never);
          admin.status({ volume }, {} as never, { deadline: Date.now() + STATUS_MS }, (error, answer) => {
            admin.close();
            resolve(error === null ? answer : undefined);
          });
        }),
    );
    return (await Promise.all(answers)).find((answer) => answer?.isLeader === true);
  }

  switchover(from: Region, to: Region): void {
    const { volume } = this.#cluster.volume;
    this.#cluster.world.log(`operator: switchover from ${from} to ${to}`);
    this.#sendToAll(
      from,
      "switchover",
      (admin, done) =>
        admin.switchover({ volume, to, complete: false, timeoutMs: 3_000 }, {} as never, deadline(), done),
      () => {
        this.switchovers++;
      },
    );
  }

  promote(region: Region): void {
    const { volume } = this.#cluster.volume;
    this.#cluster.world.log(`operator: forced promotion of ${region}`);
    this.#sendToAll(region, "promotion", (admin, done) =>
      admin.promote(
        PromoteRequest.fromPartial({ volume, force: true, evenIfAlive: true, discard: [...REGIONS] }),
        {} as never,
        deadline(),
        done,
      ),
    );
  }

  /** Requests one membership change. Undefined: no member answered, the outcome is unknown. */
  changeMembers(
    region: Region,
    change: "add" | "promote" | "remove",
    id: number,
    address: string,
  ): Promise<Answer | undefined> {
    const { volume } = this.#cluster.volume;
    const { world } = this.#cluster;
    world.log(`operator: ${change} member ${id} of ${region}`);
    return new Promise((resolve) => {
      let left = this.#cluster.volume.regions.get(region)!.meta.length;
      const settle = (answer: Answer | undefined) => {
        left -= 1;
        if (answer !== undefined || left === 0) resolve(answer);
      };
      for (const member of this.#cluster.volume.regions.get(region)!.meta) {
        const admin = new AdminClient(member, undefined as never);
        const request = { volume, change, id, address, force: false };
        admin.changeMembers(request, {} as never, { deadline: Date.now() + CHANGE_MS }, (error, answer) => {
          admin.close();
          if (error === null) world.log(`operator: ${change} ${id} at ${member}: ${answer.ok} ${answer.message}`);
          settle(error === null ? answer : undefined);
        });
      }
    });
  }

  #sendToAll(
    region: Region,
    what: string,
    request: (admin: AdminClient, done: (error: unknown, answer: Answer) => void) => void,
    onDone?: () => void,
  ): void {
    const { world, volume } = this.#cluster;
    world.turn(this.host.process!, () => {
      for (const address of volume.regions.get(region)!.meta) {
        const admin = new AdminClient(address, undefined as never);
        request(admin, (error, answer) => {
          admin.close();
          if (error !== null) return;
          world.log(`operator: ${what} at ${address}: ${answer.ok ? "done" : "refused"}: ${answer.message}`);
          if (answer.ok) onDone?.();
        });
      }
    });
  }
}

function deadline(): { deadline: number } {
  return { deadline: Date.now() + ANSWER_MS };
}
