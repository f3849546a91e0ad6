import { afterEach, expect, test } from "vitest";
import type { LogStore } from "../../meta-server/storage/log-store.ts";
import { StorageError } from "../../meta-server/storage/storage-error.ts";
import { Cluster, propose, type Running, until } from "./support/cluster.ts";

let cluster: Cluster;

afterEach(() => cluster.stop());

/** A disk that works until it is told to fail, in one way. */
function failing(way: "append" | "read" | "cut"): { wrapLog: (log: LogStore) => LogStore; break: () => void } {
  let isBroken = false;
  const error = () => new StorageError("the log cannot be used any more", new Error("Input/output error"));
  const check = () => (isBroken ? Promise.reject(error()) : Promise.resolve());
  const wrapLog = (log: LogStore): LogStore => ({
    stored: log.stored,
    begin: (configuration) => log.begin(configuration),
    append: (hardState, entries, done) => {
      if (way === "append" && isBroken) setImmediate(() => done(error()));
      else log.append(hardState, entries, done);
    },
    read: async (...range) => {
      if (way === "read") await check();
      return await log.read(...range);
    },
    cut: async (through) => {
      if (way === "cut") await check();
      await log.cut(through);
    },
    markRestoring: (at) => log.markRestoring(at),
    reset: (at) => log.reset(at),
    close: () => log.close(),
  });
  return {
    wrapLog,
    break: () => {
      isBroken = true;
    },
  };
}

/** Three members; the disk of the one that leads can be broken. */
async function leaderOn(disk: ReturnType<typeof failing>, tuning = {}): Promise<Running & { id: number }> {
  cluster = await Cluster.start(3, tuning);
  const { id } = await cluster.leader();
  for (const one of [id, (id % 3) + 1]) await cluster.running.get(one)!.stop(); // the third is left with the old disk
  await cluster.startMember(id, {}, { wrapLog: disk.wrapLog });
  await cluster.startMember((id % 3) + 1);
  for (;;) {
    const leader = await cluster.leader();
    if (leader.id === id) return leader;
    await leader.group.transferLeadership();
    await until("another", () => !leader.group.leading || undefined);
  }
}

async function othersGoOn(broken: Running & { id: number }, acknowledged: readonly string[]): Promise<void> {
  await until("it has stopped", () => broken.fatal.length > 0 || undefined);
  expect(broken.fatal.map(({ message }) => message)).toEqual(["the log cannot be used any more: Input/output error"]);
  expect(broken.group.leading).toBe(false);
  expect(await propose(broken.group, "late")).toEqual({ ok: false, reason: "not-leader" });
  expect(await new Promise((done) => broken.group.readIndex(done))).toBe(false);
  cluster.running.delete(broken.id); // its group has stopped; its process would have ended
  const next = await cluster.leader();
  expect(await propose(next.group, "next")).toMatchObject({ ok: true });
  await until("all is applied", () => next.group.status().applied === next.group.status().commit || undefined);
  const list = await next.machine.list();
  expect(acknowledged.filter((text) => !list.includes(text))).toEqual([]);
  await broken.stop();
}

test("a log that cannot be written stops its server with one line; what it had not made durable it did not acknowledge", async () => {
  const disk = failing("append");
  const leader = await leaderOn(disk);
  const acknowledged: string[] = [];
  const answers: string[] = [];
  const write = async (text: string) => {
    const result = await propose(leader.group, text);
    answers.push(result.ok ? "ok" : result.reason);
    if (result.ok) acknowledged.push(text);
  };
  await Promise.all(Array.from({ length: 50 }, (_, i) => write(`a${i}`)));
  expect(acknowledged).toHaveLength(50);
  disk.break();
  await Promise.all(Array.from({ length: 50 }, (_, i) => write(`b${i}`)));
  // The others may have made it durable without it: that is a majority. Else it is not known, and nobody says otherwise.
  expect(answers.slice(50).every((answer) => answer === "ok" || answer === "unknown")).toBe(true);
  await othersGoOn(leader, acknowledged);
});

test("a log that cannot be read for a follower stops its server", async () => {
  const disk = failing("read");
  const leader = await leaderOn(disk, { tailBytesMax: 1000 });
  const behind = (leader.id % 3) + 1;
  await cluster.running.get(behind)!.stop();
  const acknowledged: string[] = [];
  for (let i = 0; i < 200; i++) {
    const result = await propose(leader.group, `a${i}`);
    if (result.ok) acknowledged.push(`a${i}`);
  }
  disk.break();
  await cluster.startMember(behind);
  await othersGoOn(leader, acknowledged);
});

test("a log that cannot be read for the changelog stops its server", async () => {
  const disk = failing("read");
  const leader = await leaderOn(disk, { tailBytesMax: 1000 });
  for (let i = 0; i < 200; i++) await propose(leader.group, `a${i}`);
  disk.break();
  await expect(leader.group.readLog(1, 1000)).rejects.toThrow("Input/output error");
  await othersGoOn(leader, ["a0", "a199"]);
});

test("a log that cannot be cut stops its server", async () => {
  const disk = failing("cut");
  const leader = await leaderOn(disk, { keepEntries: 100, cutStep: 100, cutEveryMs: 50, keepForSlowEntries: 100 });
  disk.break();
  const acknowledged: string[] = [];
  for (let i = 0; leader.fatal.length === 0; i++) {
    if ((await propose(leader.group, `a${i}`)).ok) acknowledged.push(`a${i}`);
  }
  await othersGoOn(leader, acknowledged);
});
