import { expect, test } from "vitest";
import type { Message } from "../../../consensus/raft/messages.ts";
import { Member, settle } from "../support/transcript.ts";

const last = { index: 0, term: 0 };
const vote = (from: number, to: number, term: number, at = last, transfer = false): Message => ({
  type: "vote",
  from,
  to,
  term,
  last: at,
  transfer,
});

test("an election: pre-vote, vote, the leader's no-op entry", () => {
  const one = new Member(1);
  expect(one.tick(10).sent()).toEqual(["preVote 1>2 t1 last 0@0", "preVote 1>3 t1 last 0@0"]);
  expect(one.raft.term).toBe(0); // the term has not started
  for (const from of [2, 3]) one.receive({ type: "preVoteResponse", from, to: 1, term: 1, granted: true });
  expect(one.view).toMatchObject({ role: "candidate", term: 1, vote: 1 });
  expect(one.sent()).toEqual([]); // its own vote is not durable yet
  expect(one.save().sent()).toEqual(["vote 1>2 t1 last 0@0", "vote 1>3 t1 last 0@0"]);
  for (const from of [2, 3]) one.receive({ type: "voteResponse", from, to: 1, term: 1, granted: true });
  expect(one.raft.role).toBe("leader");
  expect(one.sent()).toEqual(["append 1>2 t1 after 0@0 [1@1] commit 0", "append 1>3 t1 after 0@0 [1@1] commit 0"]);
});

test("a candidate's own vote counts only once it is durable", () => {
  const one = new Member(1).tick(10);
  for (const from of [2, 3]) one.receive({ type: "preVoteResponse", from, to: 1, term: 1, granted: true });
  for (const from of [2, 3]) one.receive({ type: "voteResponse", from, to: 1, term: 1, granted: true });
  expect(one.raft.role).toBe("candidate");
  expect(one.save().raft.role).toBe("leader");
});

test("a vote is sent only once it is durable, and to one candidate per term", () => {
  const three = new Member(3).receive(vote(1, 3, 1), vote(2, 3, 1));
  expect(three.sent()).toEqual([]);
  expect(three.save().sent()).toEqual(["voteResponse 3>1 t1 granted", "voteResponse 3>2 t1 refused"]);
  expect(
    three
      .receive(vote(1, 3, 1))
      .save()
      .sent(),
  ).toEqual(["voteResponse 3>1 t1 granted"]); // the first response was lost
});

test("no vote for a log that is less up-to-date: the later last term wins, then the longer log", () => {
  const member = () => new Member(3, { log: [1, 2, 2] });
  const responseTo = (at: { index: number; term: number }) =>
    member()
      .receive(vote(1, 3, 3, at))
      .save()
      .sent();
  expect(responseTo({ index: 9, term: 1 })).toEqual(["voteResponse 3>1 t3 refused"]);
  expect(responseTo({ index: 2, term: 2 })).toEqual(["voteResponse 3>1 t3 refused"]);
  expect(responseTo({ index: 3, term: 2 })).toEqual(["voteResponse 3>1 t3 granted"]);
  expect(responseTo({ index: 1, term: 3 })).toEqual(["voteResponse 3>1 t3 granted"]);
});

test("a follower of an active leader disregards vote requests, and keeps its term", () => {
  const two = new Member(2).receive({ type: "heartbeat", from: 1, to: 2, term: 1, commit: 0, committed: 0, round: 1 });
  two.save().sent();
  two.receive({ type: "preVote", from: 3, to: 2, term: 2, last }, vote(3, 2, 7));
  expect(two.save().sent()).toEqual([]);
  expect(two.raft.term).toBe(1);
  two.tick(10).receive(vote(3, 2, 7));
  expect(two.save().sent()).toContain("voteResponse 2>3 t7 granted");
});

test("a member that rejoins after a partition does not disrupt the leader", () => {
  const [one, two, three] = [new Member(1), new Member(2), new Member(3)];
  one.tick(10);
  settle(one, two, three);
  three.tick(200).takeMessages(); // its pre-votes are lost
  expect(three.raft.term).toBe(1);
  three.tick(10);
  one.tick();
  settle(one, two, three);
  expect(one.view).toMatchObject({ role: "leader", term: 1 });
  expect(three.view).toMatchObject({ role: "follower", leader: 1, term: 1 });
});

test("a restarted member grants no vote for one election timeout", () => {
  const two = new Member(2, { term: 4, vote: 0 });
  expect(
    two
      .receive(vote(3, 2, 5))
      .save()
      .sent(),
  ).toEqual([]);
  expect(
    two
      .receive(vote(3, 2, 4))
      .save()
      .sent(),
  ).toEqual([]);
  expect(two.tick(10).takeMessages()).toHaveLength(2); // its own pre-votes
  expect(
    two
      .receive(vote(3, 2, 5))
      .save()
      .sent(),
  ).toEqual(["voteResponse 2>3 t5 granted"]);
});

test("a leader without responses from a quorum steps down within an election timeout (check-quorum)", () => {
  const members = [new Member(1), new Member(2), new Member(3)] as const;
  members[0].tick(10);
  settle(...members);
  expect(members[0].tick(9).raft.role).toBe("leader");
  expect(members[0].tick().view).toMatchObject({ role: "follower", leader: 0, term: 1 });
});

test("a leader of an older term learns the current term from the response to its heartbeat", () => {
  const old = new Member(1);
  const other = new Member(2, { term: 5 });
  old.tick(10);
  settle(old, new Member(2), new Member(3));
  old.tick();
  for (const message of old.takeMessages()) if (message.to === 2) other.receive(message);
  old.receive(...other.takeMessages());
  expect(old.view).toMatchObject({ role: "follower", term: 5 });
});

test("leadership transfer: the target is brought up to date, then starts an election at once and wins", () => {
  const members = [new Member(1), new Member(2), new Member(3)] as const;
  const [one, two] = members;
  one.tick(10);
  settle(...members);
  one.propose("a").takeMessages(); // lost
  one.transfer(2);
  expect(one.raft.accepting).toBe(false);
  expect(one.sent()).toEqual([]); // 2 lacks "a"
  for (let i = 0; i < 3; i++) {
    one.tick();
    settle(...members);
  }
  expect(two.view).toMatchObject({ role: "leader", term: 2 });
  expect(one.view).toMatchObject({ role: "follower", leader: 2 });
  two.tick();
  settle(...members);
  expect(one.applied).toEqual(["noop", "a", "noop"]);
});

test("a leadership transfer that fails is abandoned after an election timeout", () => {
  const members = [new Member(1), new Member(2), new Member(3)] as const;
  members[0].tick(10);
  settle(...members);
  members[0].propose("a").takeMessages();
  members[0].transfer(2).takeMessages();
  for (let i = 0; i < 10; i++) {
    members[0].tick();
    settle(members[0], members[2]);
  }
  expect(members[0].view).toMatchObject({ role: "leader", accepting: true });
});

test("the only voter becomes leader as soon as its own vote is durable", () => {
  const only = new Member(1, { voters: [1] });
  only.tick(0);
  expect(only.raft.role).toBe("candidate");
  expect(only.save().raft.role).toBe("leader");
  expect(only.propose("a").save().applied).toEqual(["noop", "a"]);
});

/** Lets these members run for a while; the others are down. */
function run(...members: Member[]): void {
  for (let i = 0; i < 60; i++) {
    for (const member of members) member.tick();
    settle(...members);
  }
}

test("two emptied members do not elect each other past a third one that still has its log (defect 20)", () => {
  const full = new Member(1, { log: [1, 1, 2], term: 2, commit: 3 });
  const [two, three] = [new Member(2), new Member(3, { random: 0.5 })];
  run(two, three);
  expect([two.raft.role, three.raft.role]).not.toContain("leader");
  run(full, two, three);
  expect([full, two, three].map(({ raft }) => raft.role)).not.toContain("leader");
  expect(full.raft.log.last).toEqual({ index: 3, term: 2 });
});

test("a new group begins with the votes of all its members: one that comes later is waited for (defect 20)", () => {
  const [one, two, three] = [new Member(1), new Member(2, { random: 0.5 }), new Member(3, { random: 0.9 })];
  run(one, two);
  expect([one.raft.role, two.raft.role]).not.toContain("leader");
  run(one, two, three);
  expect([one, two, three].map(({ raft }) => raft.role).sort()).toEqual(["follower", "follower", "leader"]);
  expect(three.applied).toEqual(["noop"]);
  run(one, three); // from then on a majority is enough
  expect([one.raft.role, three.raft.role]).toContain("leader");
});
