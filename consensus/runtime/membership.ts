import type { GroupMember, GroupStatus, MemberProgress, MembershipResult } from "../group.ts";
import {
  type Configuration,
  changed,
  isMember,
  type MembershipChange,
  type RaftMember,
} from "../raft/configuration.ts";
import type { Raft } from "../raft/raft.ts";
import type { OutgoingSnapshots } from "./outgoing-snapshots.ts";
import type { ProposalQueue } from "./proposal-queue.ts";

const WHY = {
  "not-leader": "this member does not lead",
  unsettled: "this leader is new and has committed nothing yet: try again",
  pending: "another change of the members is under way: try again",
};

/** Steps a change into the core, and answers when it is committed or can be no more. */
export function proposeChange(
  raft: Raft,
  proposals: ProposalQueue,
  change: MembershipChange,
  done: (result: MembershipResult) => void,
): void {
  const { changeRefusal, term, log } = raft;
  if (changeRefusal !== undefined) {
    done({ ok: false, reason: changeRefusal === "not-leader" ? changeRefusal : "busy", message: WHY[changeRefusal] });
    return;
  }
  const to = changed(log.configuration, change);
  if (typeof to === "string") {
    done({ ok: false, reason: "refused", message: to });
    return;
  }
  const id = change.type === "add" ? log.configuration.nextId : change.id;
  const index = log.lastIndex + 1;
  proposals.leaveTerm(term);
  raft.step({ type: "configure", to });
  proposals.append(index, term, (result) => {
    // A leader that has removed itself leads no more once that is committed.
    if (result.ok || (log.commit >= index && log.term(index) === term)) done({ ok: true, id });
    else done({ ok: false, reason: "unknown", message: "leadership was lost meanwhile" });
  });
}

/** The members as the latest configuration has them; what a leader knows of each. */
export function membersProgress(
  raft: Raft,
  named: readonly GroupMember[],
  outgoing: OutgoingSnapshots,
  electionTicks: number,
): readonly MemberProgress[] {
  return addressed(raft.log.configuration, named).map((member) => {
    const progress = raft.progress(member.id);
    const own = member.id === raft.id;
    return {
      ...member,
      matched: own ? raft.log.stable : (progress?.match ?? 0),
      unconfirmedBytes: progress?.unconfirmedBytes ?? 0,
      snapshotBytes: outgoing.bytesTo(member.id),
      active: own || (progress !== undefined && progress.silentTicks < electionTicks),
    };
  });
}

/** Whom leadership is best handed over to. */
export function furthestVoter(members: readonly MemberProgress[], self: number): number | undefined {
  const able = members.filter(({ id, active, learner }) => id !== self && active && !learner);
  return able.sort((a, b) => b.matched - a.matched)[0]?.id;
}

export function membershipOf({ log, id, dismissed }: Raft): GroupStatus["membership"] {
  const { configuration } = log;
  const committed = log.configurationAt(log.commit);
  // A removal counts once it is committed; entries from before this one was added do not speak of it.
  const current = isMember(configuration, id) ? configuration : committed;
  const member = current.members.find((one) => one.id === id);
  if (member === undefined) return current.nextId > id ? "removed" : "joining";
  if (dismissed) return "removed";
  return member.learner ? "learner" : "voter";
}

/** The volume file knows best where a member is reached from here; one that it does not name yet is where its adder said. */
export function addressed(configuration: Configuration, named: readonly GroupMember[]): readonly RaftMember[] {
  return configuration.members.map((member) => {
    const address = named.find(({ id }) => id === member.id)?.address ?? member.address;
    return { ...member, address };
  });
}
