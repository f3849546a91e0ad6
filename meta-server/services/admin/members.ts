import type { Group, MemberProgress } from "../../../consensus/group.ts";
import type { MembershipChange } from "../../../consensus/raft/configuration.ts";
import type { ChangeMembersAnswer, ChangeMembersRequest } from "../../../proto/generated/admin.ts";

/** In entries. Once a learner that lacks more than this votes, commits could wait for it. */
const BEHIND_MAX = 2_000;

/** Adds, promotes or removes a member of this leader's group, unless the group could then not commit. */
export async function changeMembers(group: Group, request: ChangeMembersRequest): Promise<ChangeMembersAnswer> {
  const change = changeOf(request);
  if (change === undefined)
    return answer({ message: `unknown change '${request.change}': it is add, promote or remove` });
  if (change.type === "add" && !/^\S+:\d{1,5}$/.test(change.address))
    return answer({ message: `'${change.address}' is not host:port` });
  const refusal = change.type === "add" ? undefined : refusalOf(group, change, request.force);
  if (refusal !== undefined) return answer(refusal);
  const result = await group.changeMembership(change);
  if (result.ok) return answer({ ok: true, id: result.id });
  return answer({ message: result.message, again: result.reason === "busy" });
}

function changeOf({ change, id, address }: ChangeMembersRequest): MembershipChange | undefined {
  if (change === "add") return { type: "add", address };
  return change === "promote" || change === "remove" ? { type: change, id } : undefined;
}

function refusalOf(
  group: Group,
  { type, id }: Exclude<MembershipChange, { type: "add" }>,
  force: boolean,
): Partial<ChangeMembersAnswer> | undefined {
  const { members, commit } = group.status();
  const member = members.find((one) => one.id === id);
  if (member === undefined) return undefined; // the group refuses it, with its own message
  if (type === "promote") return member.learner ? refusalOfPromotion(members, member, commit) : undefined;
  const left = members.filter((one) => one !== member && !one.learner);
  const { reachable, quorum } = reachableOf(left);
  if (member.learner || force || left.length === 0 || reachable >= quorum) return undefined;
  return {
    message: `without member ${id} only ${reachable} of the ${left.length} remaining voters can be reached, and ${quorum} are needed: start the others, or use --force`,
  };
}

/**
 * A vote is given only to a learner that is there and has the log, and only where the larger group still has a majority. The
 * leader could be lost right after the change, and the group then be unable to elect another one.
 */
function refusalOfPromotion(
  members: readonly MemberProgress[],
  member: MemberProgress,
  commit: number,
): Partial<ChangeMembersAnswer> | undefined {
  const { id, active } = member;
  const behind = behindOf(member, commit);
  if (!active) return { message: `member ${id} cannot be reached: start it`, again: true, behind };
  if (behind > BEHIND_MAX) return { message: `member ${id} is ${behind} entries behind`, again: true, behind };
  const voters = members.filter((one) => one === member || !one.learner);
  const { reachable, quorum } = reachableOf(voters);
  if (reachable >= quorum) return undefined;
  return {
    message: `with member ${id} only ${reachable} of the ${voters.length} voters can be reached, and ${quorum} are needed: start the others`,
    again: true,
    behind,
  };
}

function reachableOf(voters: readonly MemberProgress[]): { readonly reachable: number; readonly quorum: number } {
  const reachable = voters.filter(({ active }) => active).length;
  return { reachable, quorum: Math.floor(voters.length / 2) + 1 };
}

/** How many committed entries a member lacks. */
export function behindOf({ matched }: MemberProgress, commit: number): number {
  return Math.max(0, commit - matched);
}

function answer(part: Partial<ChangeMembersAnswer>): ChangeMembersAnswer {
  return { ok: false, message: "", id: 0, again: false, behind: 0, leader: "", ...part };
}
