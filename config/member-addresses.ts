import type { RegionStatus } from "../proto/generated/admin.ts";
import { membersOf, type RegionDescription } from "./volume-description.ts";

/**
 * Where a region's metadata servers are reached from here. The volume file's word comes first: an address may be another
 * one from here (a proxy, a NAT). Members that were added since this process read it are where their group says.
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

  /** A leader knows all the members; anybody else may be one that was removed long ago. */
  learn({ isLeader, members }: RegionStatus): void {
    if (!isLeader) return;
    const others = members.filter(({ id, address }) => !this.#named.has(id) && address !== "");
    this.#learned = new Map(others.map(({ id, address }) => [id, address]));
  }
}
