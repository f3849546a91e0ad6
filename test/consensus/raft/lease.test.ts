import { expect, test } from "vitest";
import { leaseDurationMs } from "../../../consensus/raft/lease.ts";
import type { Message } from "../../../consensus/raft/messages.ts";
import { Member, type MemberOptions, settle } from "../support/transcript.ts";

const TICK_MS = 100;
const LEASE_MS = leaseDurationMs({ electionTicks: 10, tickMs: TICK_MS, clockDriftPercent: 10 });

function group(options: MemberOptions = {}): readonly [Member, Member, Member] {
  const at = (self: number) =>
    new Member(self, { leaseMs: LEASE_MS, random: self === 3 ? 0.9 : 0, ...options }).clock(0);
  return [at(1), at(2), at(3)];
}

/** Member 1 is the leader, and has committed in its term. */
function elected(options: MemberOptions = {}): readonly [Member, Member, Member] {
  const members = group(options);
  members[0].tick(10);
  settle(...members);
  return members;
}

/** Whether a read is confirmed at once, without a round of heartbeats. */
function readsUnderLease(member: Member, id = 1): boolean {
  const before = member.reads.length;
  member.readIndex(id);
  member.takeMessages();
  return member.reads.length > before && member.reads.at(-1)!.index !== undefined;
}

test("a read under the lease takes no round of heartbeats", () => {
  const [one, two, three] = elected();
  one.clock(100).tick();
  settle(one, two, three);
  expect(one.clock(101).readIndex(7).sent()).toEqual([]);
  expect(one.reads).toEqual([{ id: 7, index: 1 }]);
});

test("without leases every read takes a round of heartbeats", () => {
  const [one, two, three] = elected({ leaseMs: undefined });
  one.clock(100).tick();
  settle(one, two, three);
  expect(one.clock(101).readIndex(7).sent()).toEqual([
    "heartbeat 1>2 t1 commit 1 round 1",
    "heartbeat 1>3 t1 commit 1 round 1",
  ]);
});

test("the lease counts from the sending of the heartbeat, not from its response", () => {
  const [one, two] = elected();
  one.clock(1_000).tick();
  const heartbeat = one.takeMessages().find(({ to }) => to === 2)!;
  const response = two.receive(heartbeat).takeMessages();
  one.clock(1_400).receive(...response);
  expect(readsUnderLease(one.clock(1_000 + LEASE_MS - 1))).toBe(true);
  expect(readsUnderLease(one.clock(1_000 + LEASE_MS))).toBe(false);
});

test("a response extends the lease from the sending of its own heartbeat, not of later ones", () => {
  const [one, two] = elected();
  one.clock(1_000).tick();
  const first = one.takeMessages().find(({ to }) => to === 2)!;
  one.clock(1_100).tick().takeMessages();
  one.clock(1_200).tick().takeMessages();
  one.receive(...two.receive(first).takeMessages());
  expect(readsUnderLease(one.clock(1_000 + LEASE_MS))).toBe(false);
});

test.each([0, 400])(
  "a deposed leader within the clock bound answers no read from its lease once another may be elected (%i ms away)",
  (awayMs) => {
    const [one, two, three] = elected();
    // Its last heartbeat takes `awayMs` to a quorum, and the responses as long back. After that it is partitioned.
    one.clock(10_000).tick();
    const lastSent = one.takeMessages();
    const receivedMs = 10_000 + awayMs;
    const responses = [two, three].flatMap((member) =>
      member.receive(...lastSent.filter(({ to }) => to === member.raft.id)).takeMessages(),
    );
    one.clock(receivedMs + awayMs).receive(...responses);
    expect(readsUnderLease(one, 2)).toBe(true);

    // The others' clocks run faster than its own by the full drift bound, and their timers fire as early as possible.
    let ticks = 0;
    while (two.raft.role !== "leader" && ticks < 100) {
      two.tick();
      three.tick();
      settle(two, three);
      ticks++;
    }
    expect([two.raft.role, two.raft.term]).toEqual(["leader", 2]);
    two.propose("new");
    settle(two, three);
    expect(one.raft.role).toBe("leader"); // it has not seen term 2
    const nowMs = receivedMs + ((ticks - 1) * (TICK_MS - 1)) / 1.1; // the first tick came right after the heartbeat
    expect(readsUnderLease(one.clock(nowMs), 3)).toBe(false);
  },
);

test("a follower disregards vote requests for an election timeout after a heartbeat, even after messages of later terms", () => {
  const [one, two, three] = elected();
  one.clock(1_000).tick();
  settle(one, two, three);
  // A delayed response of a later term: member 2 forgets its leader, but still disregards vote requests.
  two.receive({ type: "voteResponse", from: 3, to: 2, term: 5, granted: false });
  expect([two.raft.leader, two.raft.term]).toEqual([0, 5]);
  const preVote: Message = { type: "preVote", from: 3, to: 2, term: 6, last: { index: 9, term: 5 } };
  two.takeMessages();
  expect(two.receive(preVote).sent()).toEqual([]);
  expect(two.tick(9).receive(preVote).sent()).toEqual([]);
  expect(two.tick().receive(preVote).sent()).toContain("preVoteResponse 2>3 t6 granted");
});

test("a restarted member grants no vote for an election timeout", () => {
  const [one, two, three] = elected();
  one.clock(1_000).tick();
  settle(one, two, three);
  const again = two.restarted();
  const preVote: Message = { type: "preVote", from: 3, to: 2, term: 2, last: { index: 9, term: 1 } };
  expect(again.tick(9).receive(preVote).sent()).toEqual([]);
  expect(again.tick().receive(preVote).sent()).toContain("preVoteResponse 2>3 t2 granted");
});

test("a leadership transfer gives up the lease for the rest of the term", () => {
  const [one, two, three] = elected();
  one.clock(1_000).tick();
  settle(one, two, three);
  expect(readsUnderLease(one, 1)).toBe(true);
  one.transfer(2);
  expect(readsUnderLease(one, 2)).toBe(false);
  one.takeMessages(); // timeoutNow is delayed
  for (let tick = 1; tick <= 15; tick++) {
    one.clock(1_000 + tick * TICK_MS).tick();
    settle(one, two, three);
  }
  expect([one.raft.role, one.raft.accepting]).toEqual(["leader", true]);
  expect(readsUnderLease(one, 3)).toBe(false);
});

test("responses of learners do not extend the lease", () => {
  const [one, two, three] = elected();
  one.change({ type: "add", address: "m4" });
  settle(one, two, three);
  one.clock(5_000).tick();
  const { round } = one.takeMessages().find((message) => message.type === "heartbeat")!;
  one.receive({ type: "heartbeatResponse", from: 4, to: 1, term: 1, round });
  expect(readsUnderLease(one, 1)).toBe(false);
  one.receive({ type: "heartbeatResponse", from: 3, to: 1, term: 1, round });
  expect(readsUnderLease(one, 2)).toBe(true);
});

test("a new leader serves no read under its lease before it has committed an entry of its own term", () => {
  const [one, two, three] = group({ log: [1, 1], term: 1, ticks: 10 });
  one.tick(10);
  for (let step = 0; step < 3; step++) {
    for (const member of [one, two, three]) member.save();
    for (const message of one.takeMessages()) [two, three].find(({ raft }) => raft.id === message.to)?.receive(message);
    for (const message of [two, three].flatMap((member) => member.takeMessages()))
      if (message.type !== "appendAccepted") one.receive(message);
  }
  expect(one.raft.role).toBe("leader");
  one.clock(100).tick();
  const heartbeats = one.takeMessages().filter(({ type }) => type === "heartbeat");
  for (const heartbeat of heartbeats)
    for (const member of [two, three])
      if (member.raft.id === heartbeat.to) one.receive(...heartbeatResponses(member, heartbeat));
  expect(readsUnderLease(one.clock(101))).toBe(false);
});

function heartbeatResponses(member: Member, heartbeat: Message): Message[] {
  member.takeMessages();
  return member
    .receive(heartbeat)
    .takeMessages()
    .filter(({ type }) => type === "heartbeatResponse");
}
