import { afterEach, expect, test } from "vitest";
import type { MembershipChange } from "../../consensus/raft/configuration.ts";
import { until } from "../support/until.ts";
import { Cluster, propose } from "./support/cluster.ts";

let cluster: Cluster;
let writing: Writers | undefined;

afterEach(async () => {
  await writing?.stop();
  writing = undefined;
  await cluster.stop();
});

const CUT_SOON = { keepEntries: 100, cutStep: 100, cutEveryMs: 100, keepForSlowEntries: 200 };

/** Propose to the current leader without a pause, and record what was acknowledged. */
class Writers {
  readonly acknowledged: string[] = [];
  #isOver = false;
  readonly #done: Promise<unknown>;

  constructor(count: number) {
    this.#done = Promise.all(Array.from({ length: count }, (_, i) => this.#write(i)));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#done;
  }

  async #write(writer: number): Promise<void> {
    for (let i = 0; !this.#isOver; i++) {
      const leader = [...cluster.running.values()].find(({ group }) => group.leading);
      const text = `${writer}-${i}`;
      const result = leader === undefined ? undefined : await propose(leader.group, text);
      if (result?.ok) this.acknowledged.push(text);
      else await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

async function change(requested: MembershipChange): Promise<number> {
  for (let before = ""; ; ) {
    const { group } = await cluster.leader();
    const result = await group.changeMembership(requested);
    if (result.ok) return result.id;
    // Also after an attempt of unknown outcome that has been committed: its leader did not learn that.
    if (result.reason === "refused") throw new Error(`${requested.type}: ${result.message}${before}`);
    before = `; the attempt before: ${result.message}`;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function caughtUp(id: number): Promise<void> {
  await until(`member ${id} to catch up`, () => {
    for (const { group } of cluster.running.values()) {
      const { role, commit, members } = group.status();
      const member = members.find((one) => one.id === id);
      if (role === "leader" && member !== undefined && commit - member.matched < 100) return true;
    }
    return undefined;
  });
}

/** Every member holds every acknowledged entry once, all in the same order. */
async function nothingIsLost(acknowledged: readonly string[]): Promise<void> {
  await until("the same applied index on all members", () => {
    const applied = [...cluster.running.values()].map(({ group }) => group.status().applied);
    return applied.every((index) => index === applied[0]) || undefined;
  });
  const lists = await Promise.all([...cluster.running.values()].map(({ machine }) => machine.list()));
  for (const list of lists) expect(list.join()).toBe(lists[0]!.join());
  const held = new Set(lists[0]);
  expect(held.size).toBe(lists[0]!.length);
  expect(acknowledged.filter((text) => !held.has(text))).toEqual([]);
  for (const { fatal } of cluster.running.values()) expect(fatal).toEqual([]);
}

test("a server is added by a snapshot and promoted, and the leader removed, all under load: nothing acknowledged is lost", async () => {
  cluster = await Cluster.start(3, { ...CUT_SOON, keepForSlowEntries: 50_000 });
  const first = await cluster.leader();
  writing = new Writers(16);
  await until("a cut log", () => first.group.firstIndex > 500 || undefined);

  const { id, address } = await cluster.allocate();
  expect(await change({ type: "add", address })).toBe(id);
  const added = await cluster.startMember(id, {}, { join: true });
  await caughtUp(id);
  expect(added.machine.restores).toBe(1);
  expect(added.group.status().membership).toBe("learner");
  await change({ type: "promote", id });
  await until("the added member to become a voter", () => added.group.status().membership === "voter" || undefined);

  await change({ type: "remove", id: first.id });
  const second = await cluster.leader();
  expect(second.id).not.toBe(first.id);
  await until("the old leader to see its removal", () => first.group.status().membership === "removed" || undefined);
  await first.stop();

  // The new member is needed for a majority once one of the two old ones is down.
  const other = [1, 2, 3].find((one) => one !== first.id && one !== second.id)!;
  await cluster.running.get(other)!.stop();
  const before = writing.acknowledged.length;
  await until("more acknowledged writes", () => writing!.acknowledged.length > before + 100 || undefined);
  await cluster.startMember(other);
  await writing.stop();
  expect(writing.acknowledged.length).toBeGreaterThan(1000);
  await nothingIsLost(writing.acknowledged);
  for (const { group } of cluster.running.values())
    expect(group.status().members.map((member) => member.id)).toEqual([1, 2, 3, 4].filter((one) => one !== first.id));
});

test("three servers are replaced by three others, one by one, under load", async () => {
  cluster = await Cluster.start(3, CUT_SOON);
  await cluster.leader();
  writing = new Writers(4);
  for (const old of [1, 2, 3]) {
    const { id, address } = await cluster.allocate();
    await change({ type: "add", address });
    await cluster.startMember(id, {}, { join: true });
    await caughtUp(id);
    await change({ type: "promote", id });
    await change({ type: "remove", id: old });
    await cluster.running.get(old)!.stop();
  }
  const before = writing.acknowledged.length;
  await until("more acknowledged writes", () => writing!.acknowledged.length > before + 100 || undefined);
  await writing.stop();
  await nothingIsLost(writing.acknowledged);
  const { group } = await cluster.leader();
  expect(group.status().members.map(({ id, learner }) => `${id} ${learner}`)).toEqual([
    "4 false",
    "5 false",
    "6 false",
  ]);
});

test("an empty server that was not added disrupts nothing and is notified; it joins under the same id once it is added", async () => {
  cluster = await Cluster.start(3);
  const leader = await cluster.leader();
  const { term } = leader.group.status();
  const { id, address } = await cluster.allocate();
  const stray = await cluster.startMember(id); // without --join: it starts with the members in the volume file
  expect(stray.group.status().membership).toBe("voter");
  await until("the server to be notified", () => stray.group.status().membership === "removed" || undefined);
  expect((await propose(leader.group, "a")).ok).toBe(true);
  expect(leader.group.status()).toMatchObject({ role: "leader", term });
  expect(await change({ type: "add", address })).toBe(id);
  await until("the server to become a learner", () => stray.group.status().membership === "learner" || undefined);
  await caughtUp(id);
  await nothingIsLost(["a"]);
});

test("after a restart with a cut log, a server knows its members from the log and not from the volume file", async () => {
  cluster = await Cluster.start(3, CUT_SOON);
  await cluster.leader();
  const gone = await change({ type: "remove", id: 3 });
  await cluster.running.get(gone)!.stop();
  writing = new Writers(8);
  await until("a cut log", () => [1, 2].every((id) => cluster.running.get(id)!.group.firstIndex > 500) || undefined);
  await writing.stop();
  for (const id of [1, 2]) await cluster.running.get(id)!.stop();
  await cluster.startMember(1); // it must not become leader alone: one of two voters
  await new Promise((resolve) => setTimeout(resolve, 3000));
  expect(cluster.running.get(1)!.group.status()).toMatchObject({ leader: 0, members: [{ id: 1 }, { id: 2 }] });
  await cluster.startMember(2);
  await cluster.leader();
  await nothingIsLost(writing.acknowledged);
});

test("a leadership transfer under load takes no election timeout: the next term starts at once", async () => {
  cluster = await Cluster.start(3, { electionTicks: 30 });
  const leader = await cluster.leader();
  const { term } = leader.group.status();
  writing = new Writers(16);
  await until("load", () => writing!.acknowledged.length > 300 || undefined);
  const seen: string[] = [];
  const others = [...cluster.running].filter(([id]) => id !== leader.id);
  for (const [, { group }] of others) group.onChange((status) => seen.push(`${status.role} ${status.term}`));
  await leader.stop();
  const before = writing.acknowledged.length;
  await until("more acknowledged writes", () => writing!.acknowledged.length > before + 300 || undefined);
  expect(seen).toContain(`leader ${term + 1}`);
  // An election after a timeout would start with a pre-vote.
  expect(seen.filter((state) => state.startsWith("pre-candidate"))).toEqual([]);
  await writing.stop();
  await cluster.startMember(leader.id);
  await nothingIsLost(writing.acknowledged);
});
