import { AdminClient } from "../../proto/generated/admin.ts";
import type { Cluster, Region } from "./cluster.ts";
import { Host } from "./environment/world.ts";

const ANSWER_MS = 40_000;
const CHANGE_MS = 2_000;

interface Answer {
  readonly ok: boolean;
  readonly message: string;
}

/** Who gives orders, as the command line does: to every member, for only the leader takes them. */
export class Operator {
  readonly host: Host;
  readonly #cluster: Cluster;
  /** Of the last switchover and of the last promotion, once it was answered. */
  switchovers = 0;
  promotions = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.host = new Host(cluster.world, "operator", "home");
    this.host.begin();
  }

  switchover(from: Region, to: Region): void {
    const { volume } = this.#cluster.volume;
    this.#cluster.world.log(`operator: switchover from ${from} to ${to}`);
    this.#orderAll(
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
    this.#cluster.world.log(`operator: promote ${region} by force`);
    this.#orderAll(
      region,
      "promotion",
      (admin, done) => admin.promote({ volume, force: true }, {} as never, deadline(), done),
      () => {
        this.promotions++;
      },
    );
  }

  /** One change of a group's members. Undefined: nobody knows what came of it. */
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

  #orderAll(
    region: Region,
    what: string,
    order: (admin: AdminClient, done: (error: unknown, answer: Answer) => void) => void,
    onDone: () => void,
  ): void {
    const { world, volume } = this.#cluster;
    world.turn(this.host.process!, () => {
      for (const address of volume.regions.get(region)!.meta) {
        const admin = new AdminClient(address, undefined as never);
        order(admin, (error, answer) => {
          admin.close();
          if (error !== null) return;
          world.log(`operator: ${what} at ${address}: ${answer.ok ? "done" : "refused"}: ${answer.message}`);
          if (answer.ok) onDone();
        });
      }
    });
  }
}

function deadline(): { deadline: number } {
  return { deadline: Date.now() + ANSWER_MS };
}
