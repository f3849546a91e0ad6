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
  two.hear({
    type: "append",
    from: 1,
    to: 2,
    term: 1,
    previous: { index: 0, term: 0 },
    commit: 0,
    entries: [entry(1, 1)],
  });
  expect(two.said()).toEqual([]);
  expect(two.save().said()).toEqual(["appendAccepted 2>1 t1 match 1"]);
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
  const two = new Member(2).hear(append).hear(append);
  expect(two.said()).toEqual([]);
});

// Promise: Nothing is acknowledged before it is on the disks of a majority of the primary's metadata servers
test("a leader sends beside its own write, and counts itself only once that is durable", () => {
  const [one] = elected();
  one.propose("a");
  expect(one.said()).toEqual(["append 1>2 t1 after 1@1 [2@1] commit 1", "append 1>3 t1 after 1@1 [2@1] commit 1"]);
  one.hear({ type: "appendAccepted", from: 2, to: 1, term: 1, match: 2 });
  expect(one.raft.log.commit).toBe(1);
  expect(one.save().applied).toEqual(["noop", "a"]);
});

test("what a quorum of others holds is committed before the leader's own write, and applied after it", () => {
  const [one] = elected();
  one.propose("a");
  one.hear({ type: "appendAccepted", from: 2, to: 1, term: 1, match: 2 });
  one.hear({ type: "appendAccepted", from: 3, to: 1, term: 1, match: 2 });
  expect(one.raft.log.commit).toBe(2);
  expect(one.applied).toEqual(["noop"]);
  expect(one.save().applied).toEqual(["noop", "a"]);
});

test("all proposals of a turn go in one append; more follow without waiting, until the window is full", () => {
  const [one] = elected();
  one.propose("a", "b", "c");
  expect(one.said()[0]).toBe("append 1>2 t1 after 1@1 [2@1 3@1 4@1] commit 1");
  one.propose("d").propose("e").propose("f");
  expect(one.said().filter((line) => line.includes("1>2"))).toEqual([
    "append 1>2 t1 after 4@1 [5@1] commit 1",
    "append 1>2 t1 after 5@1 [6@1] commit 1",
  ]);
  one.hear({ type: "appendAccepted", from: 2, to: 1, term: 1, match: 4 });
  expect(one.said()).toEqual(["append 1>2 t1 after 6@1 [7@1] commit 1"]);
});

test("a log that conflicts is found with one probe a term and replaced (figure 3.6, f)", () => {
  const follower = new Member(2, { log: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], term: 3 });
  const leader = new Member(1, { log: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6], term: 6 });
  const third = new Member(3, { log: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6], term: 6 });
  for (const member of [follower, third]) member.tick(10).takeMessages(); // their silence after the restart is over
  leader.tick(10);
  let probes = 0;
  for (let round = 0; round < 20; round++) {
    const messages = [leader, follower, third].flatMap((member) => member.save().takeMessages());
    probes += messages.filter(({ type }) => type === "appendRejected").length;
    for (const message of messages) [leader, follower, third][[1, 2, 3].indexOf(message.to)]!.hear(message);
  }
  expect(probes).toBeLessThanOrEqual(3);
  expect(follower.raft.log.last).toEqual({ index: 11, term: 7 });
  expect(follower.raft.log.term(4)).toBe(4);
});

test("figure 3.7 (8 in the paper): an old term's entry on a majority is not committed by counting", () => {
  const one = new Member(1, { voters: [1, 2, 3, 4, 5], log: [1, 2], term: 3 });
  one.tick(10);
  for (const from of [2, 3]) one.hear({ type: "preVoteResponse", from, to: 1, term: 4, granted: true });
  one.save();
  for (const from of [2, 3]) one.hear({ type: "voteResponse", from, to: 1, term: 4, granted: true });
  one.save();
  expect(one.raft.role).toBe("leader");
  for (const from of [2, 3]) one.hear({ type: "appendAccepted", from, to: 1, term: 4, match: 2 });
  expect(one.raft.log.commit).toBe(0); // index 2, term 2, is on three of five
  for (const from of [2, 3]) one.hear({ type: "appendAccepted", from, to: 1, term: 4, match: 3 });
  expect(one.raft.log.commit).toBe(3); // with the own term's entry all before it
});

test("an old append that agrees removes nothing", () => {
  const two = new Member(2, { log: [1, 1, 1], term: 1 });
  two.hear({
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

test("a heartbeat commits no further than the follower is known to agree", () => {
  const two = new Member(2, { log: [1, 1, 1], term: 1 });
  two.hear({ type: "heartbeat", from: 1, to: 2, term: 2, commit: 2, committed: 2, round: 1 });
  expect(two.raft.log.commit).toBe(2);
  const [one] = elected();
  one.propose("a");
  one.hear({ type: "appendAccepted", from: 2, to: 1, term: 1, match: 2 });
  one.save().takeMessages();
  expect(one.tick().said()).toContain("heartbeat 1>3 t1 commit 1 round 0"); // 3 has not confirmed index 2
});

test("a window full by bytes that was lost whole is opened again by a heartbeat's answer", () => {
  const [one, two, three] = elected();
  for (let i = 0; i < 4; i++) one.propose("x".repeat(4000)).takeMessages(); // all lost; the window holds 10,000 bytes
  for (let i = 0; i < 5; i++) {
    one.tick();
    settle(one, two, three);
  }
  expect(two.raft.log.lastIndex).toBe(one.raft.log.lastIndex);
});

test("a member that needs what was cut needs a snapshot", () => {
  const [one, two] = elected();
  for (let i = 0; i < 20; i++) {
    one.propose("x".repeat(100));
    settle(one, two); // 3 is away
  }
  one.raft.step({ type: "cut", through: 10 });
  one.raft.step({ type: "unreachable", peer: 3 });
  one.raft.step({ type: "message", message: { type: "heartbeatResponse", from: 3, to: 1, term: 1, round: 0 } });
  expect(one.raft.takeReady(0).snapshotsFor).toEqual([3]);
  one.raft.step({ type: "snapshotSent", to: 3, index: 15 });
  expect(one.tick(0).said()[0]).toMatch(/^append 1>3 t1 after 15@1 /);
});

test("a member that came back without its disk is filled again", () => {
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
