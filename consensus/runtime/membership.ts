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

const REFUSAL_LINES = {
  "not-leader": "this member is not the leader",
  unsettled: "the leader has committed nothing in its term yet: try again",
  pending: "another membership change is under way: try again",
};

/** Proposes a membership change. `done` is called once it is applied, refused, or its outcome is unknown. */
export function proposeChange(
  raft: Raft,
  proposals: ProposalQueue,
  change: MembershipChange,
  done: (result: MembershipResult) => void,
): void {
  const { changeRefusal, term, log } = raft;
  if (changeRefusal !== undefined) {
    done({
      ok: false,
      reason: changeRefusal === "not-leader" ? changeRefusal : "busy",
      message: REFUSAL_LINES[changeRefusal],
    });
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
    // A leader that removes itself steps down when that is committed, before it is applied.
    if (result.ok || (log.commit >= index && log.term(index) === term)) done({ ok: true, id });
    else done({ ok: false, reason: "unknown", message: "leadership was lost, and the change may yet be committed" });
  });
}

/** The members of the latest configuration, with the leader's view of each. */
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

/** The best target of a leadership transfer: the most up-to-date active voter. */
export function furthestVoter(members: readonly MemberProgress[], self: number): number | undefined {
  const able = members.filter(({ id, active, learner }) => id !== self && active && !learner);
  return able.sort((a, b) => b.matched - a.matched)[0]?.id;
}

export function membershipOf({ log, id, dismissed }: Raft): GroupStatus["membership"] {
  const { configuration } = log;
  const committed = log.configurationAt(log.commit);
  // A removal counts once it is committed. In a configuration from before its addition, this server is still joining.
  const current = isMember(configuration, id) ? configuration : committed;
  const member = current.members.find((one) => one.id === id);
  if (member === undefined) return current.nextId > id ? "removed" : "joining";
  if (dismissed) return "removed";
  return member.learner ? "learner" : "voter";
}

/**
 * With the addresses of the volume file, which knows best how a member is reached from here; else the one given when it
 * was added.
 */
export function addressed(configuration: Configuration, named: readonly GroupMember[]): readonly RaftMember[] {
  return configuration.members.map((member) => {
    const address = named.find(({ id }) => id === member.id)?.address ?? member.address;
    return { ...member, address };
  });
}
