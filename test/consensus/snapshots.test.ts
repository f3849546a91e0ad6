import { afterEach, expect, test } from "vitest";
import { Cluster, propose, until } from "./support/cluster.ts";

let cluster: Cluster;

afterEach(() => cluster.stop());

const CUT_SOON = { keepEntries: 100, cutStep: 100, cutEveryMs: 100, keepForSlowEntries: 200 };
const PAD = "x".repeat(2000);

async function fill(count: number, name: string): Promise<void> {
  const { group } = await cluster.leader();
  for (let i = 0; i < count; i += 100) {
    const batch = Array.from({ length: Math.min(100, count - i) }, (_, j) => propose(group, `${name}${i + j} ${PAD}`));
    for (const result of await Promise.all(batch)) expect(result.ok).toBe(true);
  }
}

/** Three members, one of them down and behind the others' logs, and its way a slow one. */
async function oneIsBehind(snapshotKeepMs: number) {
  cluster = await Cluster.start(3, { ...CUT_SOON, snapshotKeepMs });
  await fill(100, "a");
  const leader = await cluster.leader();
  const away = (leader.id % 3) + 1;
  await cluster.running.get(away)!.stop();
  await fill(3000, "b");
  await until("a cut log", () => leader.group.firstIndex > 2000 || undefined);
  const way = cluster.ways.get(away)!;
  way.setBandwidth(3_000_000);
  const back = await cluster.startMember(away);
  const taken = () => leader.group.status().members.find(({ id }) => id === away)!.snapshotBytes ?? 0;
  await until("some parts", () => taken() > 1_000_000 || undefined);
  return { leader, away, way, back, taken };
}

async function level(): Promise<void> {
  await until("one state", () => {
    const applied = [...cluster.running.values()].map(({ group }) => group.status().applied);
    return applied.every((index) => index === applied[0]) || undefined;
  });
  const [first, ...others] = await Promise.all([...cluster.running.values()].map(({ machine }) => machine.list()));
  for (const other of others)
    expect(other.length === first!.length && other.every((it, i) => it === first![i])).toBe(true);
}

test("a broken transfer goes on at the part where it broke, with the same snapshot", async () => {
  const { leader, way, back, taken } = await oneIsBehind(10_000);
  way.partition("both", "reset");
  const before = taken();
  await fill(50, "c");
  way.setBandwidth(1_000_000_000);
  way.heal();
  await until("it is in place", () => back.group.status().applied > 3000 || undefined);
  await level();
  expect(before).toBeGreaterThan(1_000_000);
  expect([leader.machine.snapshots, back.machine.restores]).toEqual([1, 1]);
  expect(back.machine.pairsRestored).toBeLessThanOrEqual(3200); // none came twice
});

test("one that is broken for longer than it is kept begins again", async () => {
  const { leader, way, back } = await oneIsBehind(300);
  way.partition("both", "reset");
  await until(
    "the receiver has given up",
    () => back.group.status().members.length > 0 && given(leader.id) === undefined,
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  way.setBandwidth(1_000_000_000);
  way.heal();
  await until("it is in place", () => back.group.status().applied > 3000 || undefined);
  await level();
  expect(back.machine.restores).toBeGreaterThan(1);
  expect(leader.machine.snapshots).toBeGreaterThan(1);
});

test("a snapshot that cannot be read is refused and counted; who got it is as it was, and takes the next one", async () => {
  cluster = await Cluster.start(3, { ...CUT_SOON, snapshotKeepMs: 600_000 }); // kept, it would be sent again and again
  await fill(100, "a");
  const leader = await cluster.leader();
  const away = (leader.id % 3) + 1;
  await cluster.running.get(away)!.stop();
  await fill(1000, "b");
  await until("a cut log", () => leader.group.firstIndex > 500 || undefined);
  leader.machine.garbles = true;
  const back = await cluster.startMember(away);
  await until("it is refused", () => back.group.refused.snapshot);
  expect(back.group.status().applied).toBeLessThan(200); // what its own log had
  expect(back.fatal).toEqual([]);
  leader.machine.garbles = false;
  await level();
  expect(back.fatal).toEqual([]);
});

function given(leader: number): number | undefined {
  return cluster.running
    .get(leader)!
    .group.status()
    .members.find(({ snapshotBytes }) => snapshotBytes !== undefined)?.snapshotBytes;
}

test("a follower that has stalled holds up a bounded amount at the leader, and nobody else", async () => {
  const window = { messagesMax: 128, bytesMax: 1 << 20 };
  cluster = await Cluster.start(3, { window, appendBytesMax: 64 << 10 });
  await fill(100, "a");
  const { id, group } = await cluster.leader();
  const stalled = (id % 3) + 1;
  cluster.ways.get(stalled)!.partition("both", "stall");
  let most = 0;
  for (let i = 0; i < 20; i++) {
    await fill(200, `b${i}-`); // 8 MB in all
    most = Math.max(most, group.status().members.find((member) => member.id === stalled)!.unconfirmedBytes);
  }
  expect(most).toBeGreaterThan(500_000); // it was being sent to
  expect(most).toBeLessThanOrEqual(window.bytesMax + (64 << 10) + 4096);
  cluster.ways.get(stalled)!.heal();
  await level();
});
