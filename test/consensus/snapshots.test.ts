import { afterEach, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { Cluster, propose } from "./support/cluster.ts";

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

/** Three members. One was down until its next entry was compacted, and now receives a snapshot over a slow network. */
async function clusterWithLaggingMember(snapshotKeepMs: number) {
  cluster = await Cluster.start(3, { ...CUT_SOON, snapshotKeepMs });
  await fill(100, "a");
  const leader = await cluster.leader();
  const away = (leader.id % 3) + 1;
  await cluster.running.get(away)!.stop();
  await fill(3000, "b");
  await until("a cut log", () => leader.group.firstIndex > 2000 || undefined);
  const proxy = cluster.proxies.get(away)!;
  proxy.setBandwidth(3_000_000);
  const back = await cluster.startMember(away);
  const taken = () => leader.group.status().members.find(({ id }) => id === away)!.snapshotBytes ?? 0;
  await until("some parts", () => taken() > 1_000_000 || undefined);
  return { leader, away, proxy, back, taken };
}

async function converged(): Promise<void> {
  await until("the same applied index on all members", () => {
    const applied = [...cluster.running.values()].map(({ group }) => group.status().applied);
    return applied.every((index) => index === applied[0]) || undefined;
  });
  const [first, ...others] = await Promise.all([...cluster.running.values()].map(({ machine }) => machine.list()));
  for (const other of others)
    expect(other.length === first!.length && other.every((it, i) => it === first![i])).toBe(true);
}

test("a broken transfer resumes at the part where it broke, with the same snapshot", async () => {
  const { leader, proxy, back, taken } = await clusterWithLaggingMember(10_000);
  proxy.partition("both", "reset");
  const before = taken();
  await fill(50, "c");
  proxy.setBandwidth(1_000_000_000);
  proxy.heal();
  await until("the snapshot to be installed", () => back.group.status().applied > 3000 || undefined);
  await converged();
  expect(before).toBeGreaterThan(1_000_000);
  expect([leader.machine.snapshots, back.machine.restores]).toEqual([1, 1]);
  expect(back.machine.pairsRestored).toBeLessThanOrEqual(3200); // no part was sent twice
});

test("a transfer that is interrupted for longer than snapshotKeepMs starts again", async () => {
  const { leader, proxy, back } = await clusterWithLaggingMember(300);
  proxy.partition("both", "reset");
  await until(
    "the transfer to expire",
    () => back.group.status().members.length > 0 && snapshotBytes(leader.id) === undefined,
  );
  await new Promise((resolve) => setTimeout(resolve, 500));
  proxy.setBandwidth(1_000_000_000);
  proxy.heal();
  await until("the snapshot to be installed", () => back.group.status().applied > 3000 || undefined);
  await converged();
  expect(back.machine.restores).toBeGreaterThan(1);
  expect(leader.machine.snapshots).toBeGreaterThan(1);
});

test("an invalid snapshot is refused and counted; the receiver is unchanged, and installs the next one", async () => {
  // A refused snapshot must not be kept: it would be sent again and again.
  cluster = await Cluster.start(3, { ...CUT_SOON, snapshotKeepMs: 600_000 });
  await fill(100, "a");
  const leader = await cluster.leader();
  const away = (leader.id % 3) + 1;
  await cluster.running.get(away)!.stop();
  await fill(1000, "b");
  await until("a cut log", () => leader.group.firstIndex > 500 || undefined);
  leader.machine.corruptsSnapshots = true;
  const back = await cluster.startMember(away);
  await until("the snapshot to be refused", () => back.group.refused.snapshot);
  expect(back.group.status().applied).toBeLessThan(200); // only what its own log held
  expect(back.fatal).toEqual([]);
  leader.machine.corruptsSnapshots = false;
  await converged();
  expect(back.fatal).toEqual([]);
});

function snapshotBytes(leader: number): number | undefined {
  return cluster.running
    .get(leader)!
    .group.status()
    .members.find(({ snapshotBytes }) => snapshotBytes !== undefined)?.snapshotBytes;
}

test("a stalled follower takes a bounded amount of the leader's memory, and delays no other member", async () => {
  const window = { messagesMax: 128, bytesMax: 1 << 20 };
  cluster = await Cluster.start(3, { window, appendBytesMax: 64 << 10 });
  await fill(100, "a");
  const { id, group } = await cluster.leader();
  const stalled = (id % 3) + 1;
  cluster.proxies.get(stalled)!.partition("both", "stall");
  let most = 0;
  for (let i = 0; i < 20; i++) {
    await fill(200, `b${i}-`); // 8 MB in total
    most = Math.max(most, group.status().members.find((member) => member.id === stalled)!.unconfirmedBytes);
  }
  expect(most).toBeGreaterThan(500_000); // it was sent appends
  expect(most).toBeLessThanOrEqual(window.bytesMax + (64 << 10) + 4096);
  cluster.proxies.get(stalled)!.heal();
  await converged();
});
