import { expect, test } from "vitest";
import { entry, Member, settle } from "../support/transcript.ts";

function elected(): readonly [Member, Member, Member] {
  const members = [new Member(1), new Member(2), new Member(3)] as const;
  members[0].tick(10);
  settle(...members);
  return members;
}

test("a follower acknowledges an entry only once it is durable", () => {
  const two = new Member(2);
  two.receive({
    type: "append",
    from: 1,
    to: 2,
    term: 1,
    previous: { index: 0, term: 0 },
    commit: 0,
    entries: [entry(1, 1)],
  });
  expect(two.sent()).toEqual([]);
  expect(two.save().sent()).toEqual(["appendAccepted 2>1 t1 match 1"]);
});

test("a repeated append is not acknowledged before the first one is durable", () => {
  const append = {
    type: "append",
    from: 1,
    to: 2,
    term: 1,
    previous: { index: 0, term: 0 },
    commit: 0,
    entries: [entry(1, 1)],
  } as const;
  const two = new Member(2).receive(append).receive(append);
  expect(two.sent()).toEqual([]);
});

test("Nothing is acknowledged before it is on the disks of a majority of the primary's metadata servers", () => {
  const [one] = elected();
  one.propose("a");
  expect(one.sent()).toEqual(["append 1>2 t1 after 1@1 [2@1] commit 1", "append 1>3 t1 after 1@1 [2@1] commit 1"]);
  one.receive({ type: "appendAccepted", from: 2, to: 1, term: 1, match: 2 });
  expect(one.raft.log.commit).toBe(1);
  expect(one.save().applied).toEqual(["noop", "a"]);
});

test("an entry on a quorum of others is committed before the leader's own write is durable, and applied after it", () => {
  const [one] = elected();
  one.propose("a");
  one.receive({ type: "appendAccepted", from: 2, to: 1, term: 1, match: 2 });
  one.receive({ type: "appendAccepted", from: 3, to: 1, term: 1, match: 2 });
  expect(one.raft.log.commit).toBe(2);
  expect(one.applied).toEqual(["noop"]);
  expect(one.save().applied).toEqual(["noop", "a"]);
});

test("all proposals of a turn go into one append; further appends are pipelined until the window is full", () => {
  const [one] = elected();
  one.propose("a", "b", "c");
  expect(one.sent()[0]).toBe("append 1>2 t1 after 1@1 [2@1 3@1 4@1] commit 1");
  one.propose("d").propose("e").propose("f");
  expect(one.sent().filter((line) => line.includes("1>2"))).toEqual([
    "append 1>2 t1 after 4@1 [5@1] commit 1",
    "append 1>2 t1 after 5@1 [6@1] commit 1",
  ]);
  one.receive({ type: "appendAccepted", from: 2, to: 1, term: 1, match: 4 });
  expect(one.sent()).toEqual(["append 1>2 t1 after 6@1 [7@1] commit 1"]);
});

test("a conflicting log is found with at most one probe per term, and replaced (figure 3.6, f)", () => {
  const follower = new Member(2, { log: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], term: 3 });
  const leader = new Member(1, { log: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6], term: 6 });
  const third = new Member(3, { log: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6], term: 6 });
  // After a restart they disregard vote requests for an election timeout.
  for (const member of [follower, third]) member.tick(10).takeMessages();
  leader.tick(10);
  let probes = 0;
  for (let round = 0; round < 20; round++) {
    const messages = [leader, follower, third].flatMap((member) => member.save().takeMessages());
    probes += messages.filter(({ type }) => type === "appendRejected").length;
    for (const message of messages) [leader, follower, third][[1, 2, 3].indexOf(message.to)]!.receive(message);
  }
  expect(probes).toBeLessThanOrEqual(3);
  expect(follower.raft.log.last).toEqual({ index: 11, term: 7 });
  expect(follower.raft.log.term(4)).toBe(4);
});

test("an entry of an older term on a majority is not committed by counting replicas (figure 3.7)", () => {
  const one = new Member(1, { voters: [1, 2, 3, 4, 5], log: [1, 2], term: 3 });
  one.tick(10);
  for (const from of [2, 3]) one.receive({ type: "preVoteResponse", from, to: 1, term: 4, granted: true });
  one.save();
  for (const from of [2, 3]) one.receive({ type: "voteResponse", from, to: 1, term: 4, granted: true });
  one.save();
  expect(one.raft.role).toBe("leader");
  for (const from of [2, 3]) one.receive({ type: "appendAccepted", from, to: 1, term: 4, match: 2 });
  expect(one.raft.log.commit).toBe(0); // index 2, term 2, is on three of five
  for (const from of [2, 3]) one.receive({ type: "appendAccepted", from, to: 1, term: 4, match: 3 });
  expect(one.raft.log.commit).toBe(3); // along with an entry of its own term
});

test("a delayed append without a conflict removes nothing", () => {
  const two = new Member(2, { log: [1, 1, 1], term: 1 });
  two.receive({
    type: "append",
    from: 1,
    to: 2,
    term: 1,
    previous: { index: 0, term: 0 },
    commit: 0,
    entries: [entry(1, 1)],
  });
  expect(two.save().raft.log.lastIndex).toBe(3);
});

test("a heartbeat's commit index is not beyond the follower's match index", () => {
  const two = new Member(2, { log: [1, 1, 1], term: 1 });
  two.receive({ type: "heartbeat", from: 1, to: 2, term: 2, commit: 2, committed: 2, round: 1 });
  expect(two.raft.log.commit).toBe(2);
  const [one] = elected();
  one.propose("a");
  one.receive({ type: "appendAccepted", from: 2, to: 1, term: 1, match: 2 });
  one.save().takeMessages();
  expect(one.tick().sent()).toContain("heartbeat 1>3 t1 commit 1 round 0"); // member 3 has not accepted index 2
});

test("a window full of lost appends is reopened by a heartbeat response", () => {
  const [one, two, three] = elected();
  for (let i = 0; i < 4; i++) one.propose("x".repeat(4000)).takeMessages(); // all lost; the window holds 10,000 bytes
  for (let i = 0; i < 5; i++) {
    one.tick();
    settle(one, two, three);
  }
  expect(two.raft.log.lastIndex).toBe(one.raft.log.lastIndex);
});

test("a member whose next entry was compacted needs a snapshot", () => {
  const [one, two] = elected();
  for (let i = 0; i < 20; i++) {
    one.propose("x".repeat(100));
    settle(one, two); // member 3 is down
  }
  one.raft.step({ type: "cut", through: 10 });
  one.raft.step({ type: "unreachable", peer: 3 });
  one.raft.step({ type: "message", message: { type: "heartbeatResponse", from: 3, to: 1, term: 1, round: 0 } });
  expect(one.raft.takeReady(0).snapshotsFor).toEqual([3]);
  one.raft.step({ type: "snapshotSent", to: 3, index: 15 });
  expect(one.tick(0).sent()[0]).toMatch(/^append 1>3 t1 after 15@1 /);
});

test("a member that restarts with an empty disk receives the whole log again", () => {
  const [one, two, three] = elected();
  one.propose("a", "b", "c");
  settle(one, two, three);
  const blank = new Member(3);
  one.raft.step({ type: "unreachable", peer: 3 });
  for (let i = 0; i < 3; i++) {
    one.tick();
    settle(one, two, blank);
  }
  expect(blank.raft.log.last).toEqual({ index: 4, term: 1 });
  expect(one.raft.progress(3)?.match).toBe(4);
});
