import { afterEach, expect, test } from "vitest";
import { StorageError } from "../../consensus/storage-error.ts";
import { until } from "../support/until.ts";
import { Cluster, propose, type Running } from "./support/cluster.ts";

let cluster: Cluster;

afterEach(() => cluster.stop());

const failure = () => new StorageError("the log is unusable", new Error("Input/output error"));

/** Three members; `break` makes one operation of the leader's log fail from then on. */
async function leaderOn(
  operation: "append" | "read" | "cut",
  tuning = {},
): Promise<Running & { id: number; break: () => void }> {
  let broken = 0;
  cluster = await Cluster.start(3, tuning, (log, id) => ({
    stored: log.stored,
    begin: (configuration) => log.begin(configuration),
    append: (hardState, entries, done) => {
      if (operation === "append" && broken === id) setImmediate(() => done(failure()));
      else log.append(hardState, entries, done);
    },
    read: (...range) => (operation === "read" && broken === id ? Promise.reject(failure()) : log.read(...range)),
    cut: (through) => (operation === "cut" && broken === id ? Promise.reject(failure()) : log.cut(through)),
    markRestoring: (at) => log.markRestoring(at),
    reset: (at) => log.reset(at),
    close: () => log.close(),
  }));
  const leader = await cluster.leader();
  await until("every member to have applied something", () => {
    return [...cluster.running.values()].every(({ group }) => group.status().applied > 0) || undefined;
  });
  const breakIt = () => {
    broken = leader.id;
  };
  return { ...leader, break: breakIt };
}

async function othersContinue(broken: Running & { id: number }, acknowledged: readonly string[]): Promise<void> {
  await until("the broken member to stop", () => broken.fatal.length > 0 || undefined);
  expect(broken.fatal.map(({ message }) => message)).toEqual(["the log is unusable: Input/output error"]);
  expect(broken.group.leading).toBe(false);
  expect(await propose(broken.group, "late")).toEqual({ ok: false, reason: "not-leader" });
  expect(await new Promise((done) => broken.group.readIndex(done))).toBe(false);
  cluster.running.delete(broken.id); // the group has stopped; a real process would have ended
  const next = await cluster.leader();
  expect(await propose(next.group, "next")).toMatchObject({ ok: true });
  await until(
    "everything committed to be applied",
    () => next.group.status().applied === next.group.status().commit || undefined,
  );
  const list = await next.machine.list();
  expect(acknowledged.filter((text) => !list.includes(text))).toEqual([]);
  await broken.stop();
}

test("a failed write to the log stops the server with one line, and nothing that was not durable is acknowledged", async () => {
  const leader = await leaderOn("append");
  const acknowledged: string[] = [];
  const answers: string[] = [];
  const write = async (text: string) => {
    const result = await propose(leader.group, text);
    answers.push(result.ok ? "ok" : result.reason);
    if (result.ok) acknowledged.push(text);
  };
  await Promise.all(Array.from({ length: 50 }, (_, i) => write(`a${i}`)));
  expect(acknowledged).toHaveLength(50);
  leader.break();
  await Promise.all(Array.from({ length: 50 }, (_, i) => write(`b${i}`)));
  // The other two may have made an entry durable: that is a majority. Otherwise its outcome is unknown.
  expect(answers.slice(50).every((answer) => answer === "ok" || answer === "unknown")).toBe(true);
  await othersContinue(leader, acknowledged);
});

test("a failed read of the log for a follower stops the server", async () => {
  const leader = await leaderOn("read", { tailBytesMax: 1000 });
  const behind = (leader.id % 3) + 1;
  await cluster.running.get(behind)!.stop();
  const acknowledged: string[] = [];
  for (let i = 0; i < 200; i++) {
    const result = await propose(leader.group, `a${i}`);
    if (result.ok) acknowledged.push(`a${i}`);
  }
  leader.break();
  await cluster.startMember(behind);
  await othersContinue(leader, acknowledged);
});

test("a failed read of the log for the changelog stops the server", async () => {
  const leader = await leaderOn("read", { tailBytesMax: 1000 });
  for (let i = 0; i < 200; i++) await propose(leader.group, `a${i}`);
  leader.break();
  await expect(leader.group.readLog(1, 1000)).rejects.toThrow("Input/output error");
  await othersContinue(leader, ["a0", "a199"]);
});

test("a failed cut of the log stops the server", async () => {
  const leader = await leaderOn("cut", { keepEntries: 100, cutStep: 100, cutEveryMs: 50, keepForSlowEntries: 100 });
  leader.break();
  const acknowledged: string[] = [];
  for (let i = 0; leader.fatal.length === 0; i++) {
    if ((await propose(leader.group, `a${i}`)).ok) acknowledged.push(`a${i}`);
  }
  await othersContinue(leader, acknowledged);
});
