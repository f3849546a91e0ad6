import { AdminClient } from "../../proto/generated/admin.ts";
import type { House, Region } from "./house.ts";
import { Host } from "./stage/world.ts";

const ANSWER_MS = 40_000;
const CHANGE_MS = 2_000;

interface Answer {
  readonly ok: boolean;
  readonly message: string;
}

/** Who gives orders, as the command line does: to every member, for only the leader takes them. */
export class Operator {
  readonly host: Host;
  readonly #house: House;
  /** Of the last switchover and of the last promotion, once it was answered. */
  switchovers = 0;
  promotions = 0;

  constructor(house: House) {
    this.#house = house;
    this.host = new Host(house.world, "operator", "home");
    this.host.begin();
  }

  switchover(from: Region, to: Region): void {
    const { volume } = this.#house.volume;
    this.#house.world.tell(`operator: switchover from ${from} to ${to}`);
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
    const { volume } = this.#house.volume;
    this.#house.world.tell(`operator: promote ${region} by force`);
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
    const { volume } = this.#house.volume;
    const { world } = this.#house;
    world.tell(`operator: ${change} member ${id} of ${region}`);
    return new Promise((resolve) => {
      let left = this.#house.volume.regions.get(region)!.meta.length;
      const settle = (answer: Answer | undefined) => {
        left -= 1;
        if (answer !== undefined || left === 0) resolve(answer);
      };
      for (const member of this.#house.volume.regions.get(region)!.meta) {
        const admin = new AdminClient(member, undefined as never);
        const request = { volume, change, id, address, force: false };
        admin.changeMembers(request, {} as never, { deadline: Date.now() + CHANGE_MS }, (error, answer) => {
          admin.close();
          if (error === null) world.tell(`operator: ${change} ${id} at ${member}: ${answer.ok} ${answer.message}`);
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
    const { world, volume } = this.#house;
    world.turn(this.host.life!, () => {
      for (const address of volume.regions.get(region)!.meta) {
        const admin = new AdminClient(address, undefined as never);
        order(admin, (error, answer) => {
          admin.close();
          if (error !== null) return;
          world.tell(`operator: ${what} at ${address}: ${answer.ok ? "done" : "refused"}: ${answer.message}`);
          if (answer.ok) onDone();
        });
      }
    });
  }
}

function deadline(): { deadline: number } {
  return { deadline: Date.now() + ANSWER_MS };
}
