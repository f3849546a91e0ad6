import { expect, test } from "vitest";
import type { Message } from "../../../consensus/raft/messages.ts";
import { Member, settle } from "../support/transcript.ts";

const heartbeatResponse = (from: number, round: number): Message => ({
  type: "heartbeatResponse",
  from,
  to: 1,
  term: 1,
  round,
});

function elected(): readonly [Member, Member, Member] {
  const members = [new Member(1), new Member(2), new Member(3)] as const;
  members[0].tick(10);
  settle(...members);
  return members;
}

test("a read is confirmed by a round of heartbeats that started after it", () => {
  const [one] = elected();
  expect(one.readIndex(7).sent()).toEqual(["heartbeat 1>2 t1 commit 1 round 1", "heartbeat 1>3 t1 commit 1 round 1"]);
  one.receive(heartbeatResponse(2, 0)); // to a heartbeat sent before the read
  expect(one.reads).toEqual([]);
  one.receive(heartbeatResponse(2, 1));
  expect(one.reads).toEqual([{ id: 7, index: 1 }]);
});

test("reads share rounds of heartbeats, and a later round confirms earlier reads", () => {
  const [one] = elected();
  one.readIndex(1).readIndex(2).readIndex(3);
  one.receive(heartbeatResponse(3, 2));
  expect(one.reads.map(({ id }) => id)).toEqual([1, 2]);
  one.receive(heartbeatResponse(2, 3));
  expect(one.reads.map(({ id }) => id)).toEqual([1, 2, 3]);
});

test("a deposed leader that does not know the new term confirms no read", () => {
  const [one, two, three] = elected();
  two.tick(10);
  three.tick(10).takeMessages();
  settle(two, three); // member 1 is partitioned
  expect([two.raft.role, two.raft.term]).toEqual(["leader", 2]);
  one.readIndex(9);
  expect(one.raft.role).toBe("leader");
  settle(one, two, three);
  expect(one.reads).toEqual([{ id: 9, index: undefined }]);
});

test("a new leader defers reads until it has committed an entry of its own term", () => {
  const [one, two, three] = elected();
  one.propose("a");
  settle(one, two, three);
  two.transfer(2);
  two.receive({ type: "timeoutNow", from: 1, to: 2, term: 1 }).save();
  two.takeMessages();
  two.receive({ type: "voteResponse", from: 3, to: 2, term: 2, granted: true });
  expect(two.raft.role).toBe("leader");
  two.readIndex(5);
  two.takeMessages();
  two.receive({ type: "heartbeatResponse", from: 3, to: 2, term: 2, round: 1 });
  expect(two.reads).toEqual([]);
  two.receive({ type: "appendAccepted", from: 3, to: 2, term: 2, match: 3 }).save();
  two.receive({ type: "heartbeatResponse", from: 3, to: 2, term: 2, round: 1 });
  expect(two.reads).toEqual([{ id: 5, index: 3 }]);
});

test("a member without a leader confirms no read", () => {
  expect(new Member(2).readIndex(4).reads).toEqual([{ id: 4, index: undefined }]);
});
