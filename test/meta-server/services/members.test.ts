import pino from "pino";
import { expect, test } from "vitest";
import type { Group, MemberProgress } from "../../../consensus/group.ts";
import type { MembershipChange } from "../../../consensus/raft/configuration.ts";
import { changeMembers } from "../../../meta-server/services/admin/members.ts";
import { Refusals } from "../../../proto/refusals.ts";

const member = (id: number, more: Partial<MemberProgress> = {}): MemberProgress => ({
  id,
  address: `m${id}:1`,
  learner: false,
  matched: 10_000,
  active: true,
  unconfirmedBytes: 0,
  snapshotBytes: undefined,
  ...more,
});

/** A leader that makes every change, and records it. */
function leader(...members: MemberProgress[]) {
  const asked: MembershipChange[] = [];
  const group = {
    status: () => ({ members, commit: 10_000 }),
    changeMembership: async (change: MembershipChange) => {
      asked.push(change);
      return { ok: true, id: 9 };
    },
  } as unknown as Group;
  const ask = (change: string, id: number, force = false) =>
    changeMembers(group, { volume: "v", change, id, address: "m9:1", force });
  return { asked, ask };
}

test("a learner that is far behind is not promoted, and the refusal says how far", async () => {
  const { ask, asked } = leader(member(1), member(4, { learner: true, matched: 100 }));
  expect(await ask("promote", 4)).toMatchObject({
    ok: false,
    again: true,
    behind: 9_900,
    message: "member 4 is 9900 entries behind",
  });
  expect(asked).toEqual([]);
  const level = leader(member(1), member(4, { learner: true, matched: 9_000 }));
  expect(await level.ask("promote", 4)).toMatchObject({ ok: true });
});

test("a learner that the leader cannot reach is not promoted, however short the log is", async () => {
  const away = leader(member(1), member(2), member(3), member(4, { learner: true, matched: 9_990, active: false }));
  expect(await away.ask("promote", 4)).toMatchObject({ ok: false, again: true, message: expect.stringContaining("4") });
  expect(away.asked).toEqual([]);
});

test("a promotion after which the reachable voters would be no majority is refused", async () => {
  const learner = member(4, { learner: true });
  const two = leader(member(1), member(2, { active: false }), member(3, { active: false }), learner);
  expect(await two.ask("promote", 4)).toMatchObject({
    ok: false,
    again: true,
    message: expect.stringContaining("only 2 of the 4 voters can be reached, and 3 are needed"),
  });
  expect(two.asked).toEqual([]);
  const three = leader(member(1), member(2), member(3, { active: false }), learner);
  expect(await three.ask("promote", 4)).toMatchObject({ ok: true });
});

test("a removal that would leave no reachable majority is refused, unless it is forced", async () => {
  const { ask, asked } = leader(member(1), member(2), member(3, { active: false }), member(4, { learner: true }));
  expect(await ask("remove", 2)).toMatchObject({
    ok: false,
    again: false,
    message: expect.stringContaining("use --force"),
  });
  expect(asked).toEqual([]);
  expect(await ask("remove", 3)).toMatchObject({ ok: true }); // it cannot be reached anyway
  expect(await ask("remove", 4)).toMatchObject({ ok: true }); // a learner has no vote
  expect(await ask("remove", 2, true)).toMatchObject({ ok: true });
  expect(asked.map((change) => (change.type === "add" ? 0 : change.id))).toEqual([3, 4, 2]);
});

test("an unknown change is refused", async () => {
  const { ask, asked } = leader(member(1));
  expect(await ask("demote", 1)).toMatchObject({
    ok: false,
    again: false,
    message: "unknown change 'demote': it is add, promote or remove",
  });
  expect(asked).toEqual([]);
});

test("a refusal that repeats is counted each time and logged once", () => {
  const lines: string[] = [];
  const refusals = new Refusals(pino({ level: "warn" }, { write: (line: string) => lines.push(line) }));
  for (let i = 0; i < 1000; i++) refusals.note("term", 3, "from nowhere");
  refusals.note("volume", 3, "another");
  expect(refusals.counts).toEqual({ term: 1000, volume: 1 });
  expect(lines).toHaveLength(2);
});
