import { expect, test } from "vitest";
import type { Message } from "../../../consensus/raft/messages.ts";
import { Member, settle } from "../support/transcript.ts";

const answer = (from: number, round: number): Message => ({ type: "heartbeatResponse", from, to: 1, term: 1, round });

function elected(): readonly [Member, Member, Member] {
  const members = [new Member(1), new Member(2), new Member(3)] as const;
  members[0].tick(10);
  settle(...members);
  return members;
}

test("a read is confirmed by a round of heartbeats that began after it", () => {
  const [one] = elected();
  expect(one.askRead(7).said()).toEqual(["heartbeat 1>2 t1 commit 1 round 1", "heartbeat 1>3 t1 commit 1 round 1"]);
  one.hear(answer(2, 0)); // of a heartbeat that was sent before
  expect(one.reads).toEqual([]);
  one.hear(answer(2, 1));
  expect(one.reads).toEqual([{ id: 7, index: 1 }]);
});

test("many reads share rounds, and a later round confirms the earlier ones", () => {
  const [one] = elected();
  one.askRead(1).askRead(2).askRead(3);
  one.hear(answer(3, 2));
  expect(one.reads.map(({ id }) => id)).toEqual([1, 2]);
  one.hear(answer(2, 3));
  expect(one.reads.map(({ id }) => id)).toEqual([1, 2, 3]);
});

test("a deposed leader that does not know it answers no read", () => {
  const [one, two, three] = elected();
  two.tick(10);
  three.tick(10).takeMessages();
  settle(two, three); // 1 hears nothing of it
  expect([two.raft.role, two.raft.term]).toEqual(["leader", 2]);
  one.askRead(9);
  expect(one.raft.role).toBe("leader");
  settle(one, two, three);
  expect(one.reads).toEqual([{ id: 9, index: undefined }]);
});

test("a new leader holds reads back until it has committed in its own term", () => {
  const [one, two, three] = elected();
  one.propose("a");
  settle(one, two, three);
  two.transfer(2);
  two.hear({ type: "timeoutNow", from: 1, to: 2, term: 1 }).save();
  two.takeMessages();
  two.hear({ type: "voteResponse", from: 3, to: 2, term: 2, granted: true });
  expect(two.raft.role).toBe("leader");
  two.askRead(5);
  two.takeMessages();
  two.hear({ type: "heartbeatResponse", from: 3, to: 2, term: 2, round: 1 });
  expect(two.reads).toEqual([]);
  two.hear({ type: "appendAccepted", from: 3, to: 2, term: 2, match: 3 }).save();
  two.hear({ type: "heartbeatResponse", from: 3, to: 2, term: 2, round: 1 });
  expect(two.reads).toEqual([{ id: 5, index: 3 }]);
});

test("who does not lead confirms nothing", () => {
  expect(new Member(2).askRead(4).reads).toEqual([{ id: 4, index: undefined }]);
});
