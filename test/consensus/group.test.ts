import { rm } from "node:fs/promises";
import { afterEach, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { Cluster, propose } from "./support/cluster.ts";

let cluster: Cluster;

afterEach(() => cluster.stop());

async function proposeMany(count: number, name: string): Promise<string[]> {
  const { group } = await cluster.leader();
  const texts = Array.from({ length: count }, (_, i) => `${name}${i}`);
  const acknowledged: string[] = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      while (next < count) {
        const text = texts[next++]!;
        const result = await propose(group, text);
        if (result.ok) acknowledged.push(text);
      }
    }),
  );
  return acknowledged;
}

async function converged(): Promise<string[]> {
  const lists = async () => await Promise.all([...cluster.running.values()].map(({ machine }) => machine.list()));
  await until("the same applied index on all members", () => {
    const applied = [...cluster.running.values()].map(({ group }) => group.status().applied);
    return applied.every((index) => index === applied[0] && index > 0) || undefined;
  });
  const [first, ...others] = await lists();
  for (const other of others) expect(other).toEqual(first);
  return first!;
}

test("three members over gRPC and real disks: a leader stops, the others continue, it recovers from its disk", async () => {
  cluster = await Cluster.start(3);
  expect(await proposeMany(10_000, "a")).toHaveLength(10_000);
  const leader = await cluster.leader();
  await leader.stop();
  const next = await cluster.leader();
  expect(next.id).not.toBe(leader.id);
  expect(await proposeMany(500, "b")).toHaveLength(500);
  await cluster.startMember(leader.id);
  const list = await converged();
  expect(list).toHaveLength(10_500);
  expect(new Set(list).size).toBe(10_500);
});

test("after a restart of all members no acknowledged entry is missing", async () => {
  cluster = await Cluster.start(3);
  const acknowledged = await proposeMany(1000, "a");
  await Promise.all([...cluster.running.values()].map((running) => running.stop()));
  await Promise.all([1, 2, 3].map((id) => cluster.startMember(id)));
  await proposeMany(10, "b");
  const list = await converged();
  expect(list).toEqual(expect.arrayContaining(acknowledged));
  expect(list).toHaveLength(1010);
});

test.each(["was down too long", "lost its disk"])(
  "a member that %s is brought up to date by a snapshot",
  async (reason) => {
    cluster = await Cluster.start(3, { keepEntries: 100, cutStep: 100, cutEveryMs: 100, keepForSlowEntries: 200 });
    await proposeMany(500, "a");
    const { id: leader } = await cluster.leader();
    const away = leader === 1 ? 2 : 1;
    await cluster.running.get(away)!.stop();
    await proposeMany(5000, "b");
    const { group } = await cluster.leader();
    await until("a cut log", () => group.firstIndex > 3000 || undefined);
    if (reason === "lost its disk") await rm(cluster.dataDirectory(away), { recursive: true });
    const back = await cluster.startMember(away);
    await proposeMany(50, "c");
    const list = await converged();
    expect(list).toHaveLength(5550);
    expect(back.group.firstIndex).toBeGreaterThan(3000);
    expect(back.fatal).toEqual([]);
  },
);

test("a leadership transfer takes less than an election timeout", async () => {
  cluster = await Cluster.start(3);
  const leader = await cluster.leader();
  await propose(leader.group, "x");
  const before = Date.now();
  expect(await leader.group.transferLeadership()).toBe(true);
  const next = await cluster.leader();
  expect(next.id).not.toBe(leader.id);
  expect(Date.now() - before).toBeLessThan(900);
  expect(await propose(leader.group, "y")).toEqual({ ok: false, reason: "not-leader" });
  expect(await propose(next.group, "z")).toMatchObject({ ok: true });
});

test("reads are confirmed on the leader, and on a follower once it has applied the read index; the log can be read up to the commit index", async () => {
  cluster = await Cluster.start(3);
  await proposeMany(300, "a");
  const leader = await cluster.leader();
  const read = (group: typeof leader.group) => new Promise<boolean>((resolve) => group.readIndex(resolve));
  expect(await read(leader.group)).toBe(true);
  for (const { group } of cluster.running.values()) {
    await until("the follower to know its leader", () => group.status().leader === leader.id || undefined);
    const last = await propose(leader.group, "b");
    expect(await read(group)).toBe(true);
    expect(last).toMatchObject({ ok: true });
    expect(group.status().applied).toBeGreaterThanOrEqual((last as { index: number }).index);
  }
  const texts: string[] = [];
  for (let from = 1; ; ) {
    const entries = await leader.group.readLog(from, 1000);
    if (entries.length === 0) break;
    for (const { kind, data } of entries) if (kind === "application") texts.push(Buffer.from(data).toString());
    from = entries.at(-1)!.index + 1;
  }
  expect(texts).toEqual(await leader.machine.list());
});

test("a leader with too many pending proposals refuses more as busy", async () => {
  cluster = await Cluster.start(1, { proposalsMax: 100 });
  const { group } = await cluster.leader();
  const results = await Promise.all(Array.from({ length: 150 }, (_, i) => propose(group, `p${i}`)));
  expect(results.filter(({ ok }) => ok)).toHaveLength(100);
  expect(results.filter((result) => !result.ok && result.reason === "busy")).toHaveLength(50);
});

test("a member of another volume is refused and counted, and the others continue", async () => {
  cluster = await Cluster.start(3);
  const { id: leader } = await cluster.leader();
  const intruder = leader === 3 ? 2 : 3;
  await cluster.running.get(intruder)!.stop();
  const { group } = await cluster.startMember(intruder, { volume: "other" });
  await until("a refusal", () => group.refused.volume);
  expect((await proposeMany(100, "a")).length).toBe(100);
  const others = [...cluster.running].filter(([id]) => id !== intruder);
  await until("refusals by the others", () => others.every(([, r]) => r.group.refused.volume) || undefined);
});
