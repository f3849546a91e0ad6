/**
 * Cluster configurations (§4). A change adds or removes one server, so that any majority of the old configuration
 * overlaps any majority of the new one.
 */
import { assert } from "./assert.ts";

export interface RaftMember {
  readonly id: number;
  /** host:port, as given when the member was added. */
  readonly address: string;
  /** Receives every entry, but has no vote and counts toward no majority (§4.2.1). */
  readonly learner: boolean;
}

export interface Configuration {
  /** Of the entry that holds it; 0 for the configuration that the group started with. */
  readonly index: number;
  readonly members: readonly RaftMember[];
  /** For the next member to be added. An id is never reused. */
  readonly nextId: number;
}

export type MembershipChange =
  | { readonly type: "add"; readonly address: string }
  | { readonly type: "promote"; readonly id: number }
  | { readonly type: "remove"; readonly id: number };

/** The configuration of a new group: every member is a voter. */
export function firstConfiguration(members: readonly { id: number; address: string }[]): Configuration {
  const nextId = Math.max(0, ...members.map(({ id }) => id)) + 1;
  return { index: 0, members: members.map(({ id, address }) => ({ id, address, learner: false })), nextId };
}

/** Of a server that is to join an existing group: it starts no election, and waits for a leader to send it the log. */
export const UNKNOWN_CONFIGURATION: Configuration = { index: 0, members: [], nextId: 0 };

/**
 * @returns the configuration after the change (still with the old index), or the reason for refusing it, for the
 * operator
 */
export function changed(from: Configuration, change: MembershipChange): Configuration | string {
  const { members, nextId } = from;
  if (change.type === "add") {
    const holder = members.find(({ address }) => address === change.address);
    if (holder !== undefined) return `${change.address} is member ${holder.id} already`;
    const added = { id: nextId, address: change.address, learner: true };
    return { ...from, members: [...members, added], nextId: nextId + 1 };
  }
  const member = members.find(({ id }) => id === change.id);
  if (member === undefined) return `there is no member ${change.id}`;
  if (change.type === "promote") {
    if (!member.learner) return `member ${change.id} is a voter already`;
    return { ...from, members: members.map((one) => (one === member ? { ...one, learner: false } : one)) };
  }
  if (!member.learner && votersOf(from).length === 1) return `member ${change.id} is the last voter`;
  return { ...from, members: members.filter((one) => one !== member) };
}

export function votersOf({ members }: Configuration): readonly number[] {
  return members.filter(({ learner }) => !learner).map(({ id }) => id);
}

export function isMember({ members }: Configuration, id: number): boolean {
  return members.some((member) => member.id === id);
}

/** Whether at most one voter differs, which guarantees that any two majorities overlap (§4.1). */
export function isOneStep(from: Configuration, to: Configuration): boolean {
  const [before, after] = [votersOf(from), votersOf(to)];
  const removed = before.filter((id) => !after.includes(id)).length;
  const added = after.filter((id) => !before.includes(id)).length;
  return removed + added <= 1;
}

/** To the data of an entry: JSON. */
export function encodeConfiguration({ members, nextId }: Configuration): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ members, nextId }));
}

/** @throws Error for data that no leader writes */
export function decodeConfiguration(index: number, data: Uint8Array): Configuration {
  const { members, nextId } = JSON.parse(new TextDecoder().decode(data)) as Configuration;
  const ids = new Set(members.map(({ id }) => id));
  assert(Number.isSafeInteger(nextId) && ids.size === members.length, "a configuration names each member once");
  for (const { id, address, learner } of members) {
    assert(Number.isSafeInteger(id) && id > 0 && id < nextId, "a member has an id below nextId");
    assert(
      typeof address === "string" && typeof learner === "boolean",
      "a member has an address and is a learner or a voter",
    );
  }
  return { index, members: members.map(({ id, address, learner }) => ({ id, address, learner })), nextId };
}
