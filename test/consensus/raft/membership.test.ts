import { expect, test } from "vitest";
import { changed, firstConfiguration, type MembershipChange } from "../../../consensus/raft/configuration.ts";
import { Member, settle } from "../support/transcript.ts";

const configurationOf = (member: Member) =>
  member.raft.log.configuration.members.map(({ id, learner }) => (learner ? `${id}?` : `${id}`)).join(" ");

function group(...ids: number[]): Member[] {
  const members = ids.map((id) => new Member(id, { voters: ids }));
  members[0]!.tick(10);
  settle(...members);
  expect(members[0]!.raft.role).toBe("leader");
  return members;
}

/** A server that was added and has received nothing yet. */
const joining = (id: number) => new Member(id, { voters: [] });

test("a learner receives every entry, and counts toward no majority until it is promoted", () => {
  const [one, two, three] = group(1, 2, 3) as [Member, Member, Member];
  one.change({ type: "add", address: "m4" });
  expect(configurationOf(one)).toBe("1 2 3 4?"); // takes effect before it is committed
  const four = joining(4);
  const all = [one, two, three, four];
  settle(...all);
  one.tick();
  settle(...all);
  expect(configurationOf(four)).toBe("1 2 3 4?");
  expect(four.applied).toEqual(one.applied);
  four.tick(100);
  expect(four.takeMessages()).toEqual([]); // starts no election

  one.propose("a");
  settle(one, four); // on two of four members, but only one of three voters
  expect(one.applied).not.toContain("a");
  settle(...all);
  one.tick();
  settle(...all);
  expect(one.applied).toContain("a");

  one.change({ type: "promote", id: 4 });
  settle(...all);
  expect(configurationOf(two)).toBe("1 2 3 4");
  one.propose("b");
  settle(one, two);
  expect(one.applied).not.toContain("b"); // two of four voters are not a majority
  one.tick();
  settle(one, two, four);
  expect(one.applied).toContain("b");
});

test("a learner's responses neither keep a leader in office nor confirm its reads", () => {
  const [one, two, three] = group(1, 2, 3) as [Member, Member, Member];
  one.change({ type: "add", address: "m4" });
  const four = joining(4);
  settle(one, two, three, four);
  one.readIndex(1);
  settle(one, four);
  expect(one.reads).toEqual([]);
  for (let i = 0; i < 10; i++) {
    one.tick();
    settle(one, four);
  }
  expect(one.raft.role).toBe("follower");
});

test("one change at a time, and none before the leader has committed an entry of its own term", () => {
  const [one, two, three] = group(1, 2, 3) as [Member, Member, Member];
  one.change({ type: "add", address: "m4" });
  expect(one.raft.changeRefusal).toBe("pending");
  one.change({ type: "add", address: "m5" });
  expect(configurationOf(one)).toBe("1 2 3 4?");
  settle(one, two, three);
  expect(one.raft.changeRefusal).toBeUndefined();

  const next = new Member(2, { log: [1, 1], term: 1 }).tick(10);
  next.receive({ type: "preVoteResponse", from: 3, to: 2, term: 2, granted: true }).save();
  next.receive({ type: "voteResponse", from: 3, to: 2, term: 2, granted: true });
  expect(next.view).toMatchObject({ role: "leader", changeRefusal: "unsettled" });
  next.change({ type: "remove", id: 1 });
  expect(configurationOf(next)).toBe("1 2 3");
  next.save().receive({ type: "appendAccepted", from: 3, to: 2, term: 2, match: 3 });
  next.change({ type: "remove", id: 1 });
  expect(configurationOf(next)).toBe("2 3");
  expect(three.raft.changeRefusal).toBe("not-leader");
});

// The bug in the dissertation's algorithm found in 2015: two leaders, each with a change that the other does not have.
test("changes by two successive leaders cannot lead to disjoint majorities", () => {
  const members = group(1, 2, 3, 4);
  const [one, two, three, four] = members as [Member, Member, Member, Member];
  one.change({ type: "remove", id: 4 }).takeMessages(); // reaches no other member: {1, 2, 3}
  for (const other of [two, three, four]) other.tick(10).takeMessages();
  two.tick(20);
  settle(two, three, four);
  expect(two.raft.role).toBe("leader");
  expect(two.raft.changeRefusal).toBeUndefined(); // an entry of its term is committed on 2, 3 and 4
  two.change({ type: "remove", id: 1 });
  settle(two, three, four);
  expect(configurationOf(two)).toBe("2 3 4");
  expect(two.raft.log.commit).toBe(two.raft.log.lastIndex);
  one.tick(10); // steps down: check-quorum
  one.tick(200);
  settle(one, two, three, four);
  expect(one.raft.role).not.toBe("leader");
});

test("of changes by two successive leaders, the second one proposed at its election, at most one is committed", () => {
  const [one, two, three, four] = group(1, 2, 3, 4) as [Member, Member, Member, Member];
  one.change({ type: "remove", id: 4 }).takeMessages(); // reaches no other member: {1, 2, 3}
  for (const other of [two, three, four]) other.tick(10).takeMessages();
  two.tick(20);
  for (let round = 0; round < 3 && two.raft.role !== "leader"; round++) {
    for (const message of two.save().takeMessages())
      [three, four].find(({ raft }) => raft.id === message.to)?.receive(message);
    for (const voter of [three, four]) two.receive(...voter.save().takeMessages());
  }
  expect(two.raft.role).toBe("leader");
  two.change({ type: "remove", id: 1 }); // {2, 3, 4}, if it were accepted
  settle(two, four); // a majority of {2, 3, 4}
  for (let i = 0; i < 60; i++) {
    one.tick();
    settle(one, three); // a majority of {1, 2, 3}
  }
  const committed = [one, two].map(({ raft: { log } }) => log.configurationAt(log.commit).members.map(({ id }) => id));
  expect(committed).toEqual([
    [1, 2, 3],
    [1, 2, 3, 4],
  ]);
});

test("a change that another leader's entries replace is rolled back", () => {
  const [one, two, three] = group(1, 2, 3) as [Member, Member, Member];
  one.change({ type: "add", address: "m4" }).save().takeMessages();
  expect(configurationOf(one)).toBe("1 2 3 4?");
  three.tick(10).takeMessages();
  two.tick(20);
  settle(two, three);
  expect(two.raft.role).toBe("leader");
  two.propose("a");
  settle(two, three);
  two.tick();
  settle(one, two, three);
  expect(configurationOf(one)).toBe("1 2 3");
  expect(one.applied).toEqual(two.applied);
  two.change({ type: "add", address: "m4" });
  expect(two.raft.log.configuration.members.at(-1)).toEqual({ id: 4, address: "m4", learner: true });
});

test("a leader that removes itself stays in office until that is committed, without counting itself, then transfers leadership", () => {
  const [one, two, three] = group(1, 2, 3) as [Member, Member, Member];
  one.change({ type: "remove", id: 1 });
  expect(configurationOf(one)).toBe("2 3");
  settle(one, two);
  expect(one.raft.role).toBe("leader"); // one of the two voters is not a majority
  one.tick();
  settle(one, two, three);
  expect(one.raft.role).toBe("follower");
  expect([two.raft.role, three.raft.role].sort()).toEqual(["follower", "leader"]); // without an election timeout
  one.tick(200);
  expect(one.takeMessages()).toEqual([]);
});

test("a removed server with the only copy of its removal is elected once more to commit it (§4.2.2)", () => {
  const [one, two] = group(1, 2) as [Member, Member];
  one.change({ type: "remove", id: 1 }).save().takeMessages();
  const again = one.restarted();
  two.tick(10);
  settle(two);
  for (let i = 0; i < 60 && configurationOf(two) !== "2"; i++) {
    again.tick();
    settle(again, two);
  }
  expect(configurationOf(two)).toBe("2");
  for (let i = 0; i < 60; i++) {
    two.tick();
    settle(two, again);
  }
  expect(two.raft.role).toBe("leader");
  expect(again.raft.role).toBe("follower");
});

test("a removed server disrupts nobody, is notified, and starts no more elections", () => {
  const [one, two, three] = group(1, 2, 3) as [Member, Member, Member];
  one.change({ type: "remove", id: 3 });
  settle(one, two); // member 3 does not receive it
  expect(configurationOf(one)).toBe("1 2");
  const { term } = one.raft;
  three.tick(30);
  settle(one, two, three);
  expect(one.view).toMatchObject({ role: "leader", term });
  expect(three.raft.dismissed).toBe(true);
  three.tick(200);
  expect(three.takeMessages()).toEqual([]);
  // Not even when the other members have no leader.
  two.tick(10).takeMessages();
  three.raft.step({ type: "message", message: { type: "timeoutNow", from: 1, to: 3, term: three.raft.term } });
  expect(three.save().takeMessages()).toEqual([]);
});

test("vote requests of a non-member are rejected, unless its log is ahead: then its addition may not have arrived yet", () => {
  const [one, two, three] = group(1, 2, 3) as [Member, Member, Member];
  const stranger = new Member(4, { voters: [1, 2, 3, 4] });
  for (const member of [one, two, three]) member.tick(0);
  stranger.tick(20);
  settle(one, two, three, stranger);
  expect(stranger.raft.dismissed).toBe(true);
  const responseTo = (last: { index: number; term: number }) =>
    new Member(2, { log: [1, 1], term: 1, ticks: 20 })
      .receive({ type: "preVote", from: 4, to: 2, term: 2, last })
      .takeMessages()
      .map(({ type }) => type);
  expect(responseTo({ index: 2, term: 1 })).toEqual(["notMember"]);
  expect(responseTo({ index: 3, term: 1 })).toEqual(["preVoteResponse"]);
});

test("a member that lost its disk grants no vote until it has caught up with a leader", () => {
  const [one, two, three] = group(1, 2, 3) as [Member, Member, Member];
  one.propose("a");
  settle(one, two); // committed without 3
  expect(one.applied).toContain("a");
  const emptied = new Member(2);
  three.tick(20);
  for (let i = 0; i < 40; i++) {
    three.tick();
    emptied.tick();
    settle(three, emptied);
  }
  expect(three.raft.role).not.toBe("leader");
  expect(emptied.raft.role).not.toBe("leader");
  one.raft.step({ type: "unreachable", peer: 2 }); // its stream broke when it stopped
  for (let i = 0; i < 40; i++) {
    one.tick();
    settle(one, emptied);
  }
  expect(one.raft.role).toBe("leader");
  expect(emptied.applied).toEqual(one.applied);
  one.propose("b"); // committed with the emptied member's vote
  settle(one, emptied);
  emptied.tick(20);
  three.tick(20);
  settle(emptied, three);
  for (let i = 0; i < 40 && emptied.raft.role !== "leader"; i++) {
    emptied.tick();
    settle(emptied, three);
  }
  expect(emptied.raft.role).toBe("leader");
  expect(emptied.applied).toContain("b");
});

test("leadership transfer: not to a learner, and abandoned if the target is down", () => {
  const [one, two, three] = group(1, 2, 3) as [Member, Member, Member];
  one.change({ type: "add", address: "m4" });
  const four = joining(4);
  settle(one, two, three, four);
  one.transfer(4);
  expect(one.raft.accepting).toBe(true);
  one.propose("a").takeMessages();
  one.transfer(3);
  expect(one.raft.accepting).toBe(false);
  for (let i = 0; i < 10; i++) {
    one.tick();
    settle(one, two, four);
  }
  expect(one.raft.accepting).toBe(true);
});

test("a read on a follower is confirmed by the leader, or fails after an election timeout", () => {
  const [one, two, three] = group(1, 2, 3) as [Member, Member, Member];
  one.tick();
  settle(one, two, three);
  two.readIndex(7);
  expect(two.reads).toEqual([]);
  settle(one, two);
  expect(two.reads).toEqual([{ id: 7, index: one.raft.log.commit }]);
  two.readIndex(8).takeMessages(); // lost
  two.tick(9);
  expect(two.reads).toHaveLength(1);
  two.tick(1);
  expect(two.reads.at(-1)).toEqual({ id: 8, index: undefined });
  three.readIndex(9);
  expect(three.tick(30).reads).toEqual([{ id: 9, index: undefined }]);
});

test("invalid changes are refused", () => {
  const three = firstConfiguration([1, 2, 3].map((id) => ({ id, address: `m${id}` })));
  const refusal = (change: MembershipChange, from = three) => changed(from, change);
  expect(refusal({ type: "add", address: "m2" })).toBe("m2 is member 2 already");
  expect(refusal({ type: "promote", id: 2 })).toBe("member 2 is a voter already");
  expect(refusal({ type: "promote", id: 9 })).toBe("there is no member 9");
  expect(refusal({ type: "remove", id: 9 })).toBe("there is no member 9");
  const one = firstConfiguration([{ id: 1, address: "m1" }]);
  expect(refusal({ type: "remove", id: 1 }, one)).toBe("member 1 is the last voter");
  // An id is never reused.
  const gone = changed(three, { type: "remove", id: 3 });
  expect(typeof gone === "string" ? gone : changed(gone, { type: "add", address: "m4" })).toMatchObject({
    members: [{ id: 1 }, { id: 2 }, { id: 4 }],
  });
});
