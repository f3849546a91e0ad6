import type { RegionStatus } from "../proto/generated/admin.ts";
import { membersOf, type RegionDescription } from "./volume-description.ts";

/**
 * The addresses of a region's metadata servers. Those in the volume file take precedence over those that the group reports, since
 * this process may reach a server at another address (a proxy, a NAT). Members that were added after this process read the file
 * are reached at the address that their group reports.
 */
export class MemberAddresses {
  readonly #named: ReadonlyMap<number, string>;
  #learned = new Map<number, string>();

  constructor(region: Pick<RegionDescription, "meta">) {
    this.#named = new Map(membersOf(region).map(({ id, address }) => [id, address]));
  }

  get all(): readonly string[] {
    return [...new Set([...this.#named.values(), ...this.#learned.values()])];
  }

  of(member: number): string | undefined {
    return this.#named.get(member) ?? this.#learned.get(member);
  }

  /** Learns of added members from a leader's status. Ignores other members: one may have been removed long ago. */
  learn({ isLeader, members }: RegionStatus): void {
    if (!isLeader) return;
    const others = members.filter(({ id, address }) => !this.#named.has(id) && address !== "");
    this.#learned = new Map(others.map(({ id, address }) => [id, address]));
  }
}
