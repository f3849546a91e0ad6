/** Who belongs to the group: §4. One server at a time, so that any majority of the old and of the new one meet. */
import { assert } from "./assert.ts";

export interface RaftMember {
  readonly id: number;
  /** host:port, as whoever added it knows it. */
  readonly address: string;
  /** Gets every entry, and counts for nothing: no vote, no majority (§4.2.1). */
  readonly learner: boolean;
}

export interface Configuration {
  /** Of the entry that brought it; 0 for the one that a group began with. */
  readonly index: number;
  readonly members: readonly RaftMember[];
  /** No id is ever given twice. */
  readonly nextId: number;
}

export type MembershipChange =
  | { readonly type: "add"; readonly address: string }
  | { readonly type: "promote"; readonly id: number }
  | { readonly type: "remove"; readonly id: number };

/** What a group begins with: all of them vote. */
export function firstConfiguration(members: readonly { id: number; address: string }[]): Configuration {
  const nextId = Math.max(0, ...members.map(({ id }) => id)) + 1;
  return { index: 0, members: members.map(({ id, address }) => ({ id, address, learner: false })), nextId };
}

/** What a server knows that is to join a group: nothing. It waits to be told, and stands for no election. */
export const UNKNOWN_CONFIGURATION: Configuration = { index: 0, members: [], nextId: 0 };

/** @returns the members after the change (the index is not known yet), or why it cannot be, as a line for a person */
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
    if (!member.learner) return `member ${change.id} votes already`;
    return { ...from, members: members.map((one) => (one === member ? { ...one, learner: false } : one)) };
  }
  if (!member.learner && votersOf(from).length === 1) return `member ${change.id} is the last that votes`;
  return { ...from, members: members.filter((one) => one !== member) };
}

export function votersOf({ members }: Configuration): readonly number[] {
  return members.filter(({ learner }) => !learner).map(({ id }) => id);
}

export function isMember({ members }: Configuration, id: number): boolean {
  return members.some((member) => member.id === id);
}

/** Whether any majority of the one meets any majority of the other, as one change at a time provides. */
export function isOneStep(from: Configuration, to: Configuration): boolean {
  const [before, after] = [votersOf(from), votersOf(to)];
  const gone = before.filter((id) => !after.includes(id)).length;
  const come = after.filter((id) => !before.includes(id)).length;
  return gone + come <= 1;
}

/** As the data of an entry. */
export function encodeConfiguration({ members, nextId }: Configuration): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ members, nextId }));
}

/** @throws Error for bytes that no leader wrote. */
export function decodeConfiguration(index: number, data: Uint8Array): Configuration {
  const { members, nextId } = JSON.parse(new TextDecoder().decode(data)) as Configuration;
  const ids = new Set(members.map(({ id }) => id));
  assert(Number.isSafeInteger(nextId) && ids.size === members.length, "a configuration names each member once");
  for (const { id, address, learner } of members) {
    assert(Number.isSafeInteger(id) && id > 0 && id < nextId, "a member has a number, and it was given");
    assert(typeof address === "string" && typeof learner === "boolean", "a member has an address and a vote or none");
  }
  return { index, members: members.map(({ id, address, learner }) => ({ id, address, learner })), nextId };
}
